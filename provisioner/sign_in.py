"""Use-case: somebody signs in. Wrong in any way is one answer after the same work, whether the login exists or not.

An attempt is taken from its budgets before anything is hashed, durable, so that attempts at the same moment cannot
share what is left; one that was right is given back. Where a login's budget is used up by strangers, whoever signed in
from a place before has attempts of their own there, and a password with a right second factor counts from anywhere, as
does the password of whoever alone owns the installation. The places that attempts come from have their budgets anyway.
"""

from __future__ import annotations

import hmac
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import LoginRefused, Throttled
from provisioner.events import printable
from provisioner.model import Event
from provisioner.passwords import Passwords
from provisioner.second_factor import recovery_finder, step_of
from provisioner.settings import Settings
from provisioner.sign_in_rules import Pace, hidden, login_of, place_of
from provisioner.store import administrators, sign_in
from provisioner.store.administrators import Administrator, Credentials
from provisioner.store.database import Store
from provisioner.store.journal import write_events
from provisioner.store.people import new_id
from provisioner.store.sign_in import Session

_AGENT: Final = 120
_REFUSED: Final = "login, password or code are not right"
SEED: Final = "totp"
"""The field that a sealed seed is bound to."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session that was begun, with the token that nobody gets again."""

    token: str = field(repr=False)
    """For the cookie: HttpOnly, SameSite=Strict, Secure where TLS is, Path=/, no Domain."""
    csrf: str = field(repr=False)
    """To be sent back with every change; bound to the session."""
    administrator: Administrator
    session: Session

    @property
    def expires(self) -> float:
        """When it ends, however much it is used."""
        return self.session.expires


class Came(NamedTuple):
    """Where a request came from."""

    address: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What an attempt may count on before its password was looked at."""

    found: Credentials | None
    key: str
    """The budget of the login that it was taken from."""
    wait: float
    """s until that has another one; 0: it had one."""
    last: bool = False
    """Nobody else owns the installation: strangers who use up the budget must not lock everybody out."""


def new_token() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def csrf_of(token: str) -> str:
    """The CSRF token of a session: nobody who cannot read the cookie can work it out, and nothing has to be stored."""
    return hmac.digest(token.encode(), b"csrf", "sha256").hex()


def is_csrf(token: str, given: str) -> bool:
    """Whether a request carries its session's own CSRF token."""
    return hmac.compare_digest(csrf_of(token).encode(), given.encode("utf-8", "surrogatepass"))


class SignIn:
    """Signing in."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        passwords: Passwords | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._passwords = passwords or Passwords(settings)
        self._clock = clock
        self._of_login = Pace(settings.login_tries, settings.login_window)
        self._of_source = Pace(settings.login_tries_source, settings.login_window)

    async def login(
        self, email: str, password: str, *, code: str = "", came: Came | None = None, before: str = ""
    ) -> SignedIn:
        """Begin a session; ``code`` is the authenticator's or a recovery code, ``before`` a session this one replaces.

        LoginRefused says nothing of what was wrong, Throttled when the next attempt may be made.
        """
        came, login, now = came or Came(), login_of(email), self._clock()
        attempt = await self._admitted(login, came, now)
        found = attempt.found
        right = await self._passwords.verify(found.password if found else "", password)
        proven = await self._proven(found, right, code, now)
        if found is None or not proven or (attempt.wait and found.totp is None and not attempt.last):
            await self._refuse(attempt, came, now)
        assert found is not None, "whoever is proven exists"
        await self._rehash(found, password)
        return await self._begin(found, attempt, came, before, now)

    async def _admitted(self, login: str, came: Came, now: float) -> _Attempt:
        """Take the attempt from where it comes from and from whose login it names."""
        place = place_of(came.address)
        async with self._store.writing() as connection:
            if not await sign_in.take(connection, f"source/{place}", self._of_source, now):
                turn = await sign_in.turn_of(connection, f"source/{place}")
                raise _throttled(self._of_source.wait(turn, now))
            found = await administrators.read_credentials(connection, login)
            known = await sign_in.is_known(connection, found.administrator.id if found else "", place)
            key = f"known/{hidden(login)}/{place}" if known else f"login/{hidden(login)}"
            if await sign_in.take(connection, key, self._of_login, now):
                return _Attempt(found, key, 0.0)
            wait = self._of_login.wait(await sign_in.turn_of(connection, key), now)
            last = found is not None and await administrators.is_last_owner(connection, found.administrator.id)
            return _Attempt(found, key, wait, last)

    async def _proven(self, found: Credentials | None, right: bool, code: str, now: float) -> bool:
        """The second factor, used up where it counts; looked at with every password, right or wrong."""
        if found is None or found.totp is None:
            return right
        ident = found.administrator.id
        seed = self._store.box.open(found.totp, "administrator", ident, SEED).decode("ascii")
        step, spare = step_of(seed, code, now, found.totp_step), recovery_finder(code)
        if not right or (step is None and not spare):
            return False
        async with self._store.writing() as connection:
            if step is not None:
                return await administrators.use_step(connection, ident, step)
            used = await administrators.use_recovery(connection, ident, spare)
            if used:
                await write_events(connection, [_event("recovery_code_used", found, now, "warning")], audit=True)
            return used

    async def _refuse(self, attempt: _Attempt, came: Came, now: float) -> None:
        details = {"address": came.address, "agent": came.agent[:_AGENT]}
        if attempt.found:
            details["administrator"] = attempt.found.administrator.email
        told = {name: printable(value) for name, value in details.items() if value}
        async with self._store.writing() as connection:
            await write_events(connection, [Event("login_failed", now, "", "warning", "administrator", told)])
        if attempt.wait:
            raise _throttled(attempt.wait)
        raise LoginRefused(_REFUSED)

    async def _rehash(self, found: Credentials, password: str) -> None:
        if not self._passwords.is_outdated(found.password):
            return
        fresh = await self._passwords.hash(password)
        async with self._store.writing() as connection:
            await administrators.write_administrator(connection, found.administrator.id, password=fresh)

    async def _begin(self, found: Credentials, attempt: _Attempt, came: Came, before: str, now: float) -> SignedIn:
        who, place = found.administrator, place_of(came.address)
        async with self._store.writing() as connection:
            await sign_in.tidy(connection, now, self._settings.session_idle)
            await sign_in.give_back(connection, f"source/{place}", self._of_source)
            if not attempt.wait:
                await sign_in.give_back(connection, attempt.key, self._of_login)
            if place:
                await sign_in.note_place(connection, who.id, place, now, self._settings.login_places)
            if before:
                await sign_in.end_session(connection, before)
            await administrators.write_administrator(connection, who.id, last_at=now)
            signed = await self._session(connection, who, 2 if found.totp else 1, came, now)
            told = {"session": signed.session.id, "factors": str(signed.session.factors), "address": came.address}
            await write_events(connection, [_event("signed_in", found, now, **told)], audit=True)
        return replace(signed, administrator=replace(who, last_at=now))

    async def _session(
        self, connection: AsyncConnection, who: Administrator, factors: int, came: Came, now: float
    ) -> SignedIn:
        token = new_token()
        agent = printable(came.agent[:_AGENT])
        one = Session(new_id(), who.id, now, now, now + self._settings.session_life, factors, came.address, agent, now)
        await sign_in.insert_session(connection, token, one)
        return SignedIn(token, csrf_of(token), who, one)


def _throttled(wait: float) -> Throttled:
    return Throttled("too many attempts to sign in: wait, or use a second factor", retry_after=max(1, math.ceil(wait)))


def _event(kind: str, found: Credentials, now: float, severity: str = "info", **details: str) -> Event:
    told = {name: printable(value) for name, value in details.items() if value}
    told["administrator"] = found.administrator.id
    return Event(kind, now, "", severity, found.administrator.email, told)
