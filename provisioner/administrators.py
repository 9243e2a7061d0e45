"""Use-cases of whoever signs in: sessions, password, second factor and the links that set a password anew.

What proves somebody changes: then every session of theirs ends, and the one that asked goes on under a new token.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

from provisioner.errors import Conflict, Invalid, LoginRefused, NotFound, NotSignedIn
from provisioner.mail.reset import queue_reset
from provisioner.passwords import Passwords
from provisioner.principals import Principals
from provisioner.second_factor import new_recovery_codes, new_seed, recovery_finder, step_of, uri_of
from provisioner.settings import Settings
from provisioner.sign_in import SEED, Came, SignIn, csrf_of, is_csrf, new_token
from provisioner.sign_in_rules import Pace, check_password, hidden, login_of, place_of
from provisioner.store import administrators, sign_in
from provisioner.store.administrators import Administrator, Credentials
from provisioner.store.database import Change, Store
from provisioner.store.sign_in import Session

_RESETS: Final = Pace(3, 3600.0)
"""Mails that anybody can have sent to one login."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A second factor that is to be set up: shown once, in force when a code of it was given back."""

    seed: str = field(repr=False)
    uri: str = field(repr=False)
    """For a QR code."""


class Administrators(SignIn, Principals):
    """All that the admin edge needs to know who asks."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        passwords: Passwords | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        SignIn.__init__(self, store, settings, passwords=passwords, clock=clock)
        Principals.__init__(self, store, settings, clock=clock)

    # --- sessions -----------------------------------------------------------------------------------

    def csrf(self, token: str) -> str:
        """What a session has to send back with every change."""
        return csrf_of(token)

    def check_csrf(self, token: str, given: str) -> None:
        """NotSignedIn unless a request carries its own session's CSRF token."""
        if not is_csrf(token, given):
            raise NotSignedIn("this form is of another session: load the page again")

    async def logout(self, token: str) -> None:
        """End this session; one that is over already is no error."""
        async with self._store.writing() as connection:
            await sign_in.end_session(connection, token)

    async def logout_everywhere(self, token: str, *, but_here: bool = False) -> int:
        """End all sessions of whoever this one is of; how many."""
        who = (await self._who(token)).administrator
        async with self._change(who) as change:
            count = await sign_in.end_sessions(change.connection, who.id, but=token if but_here else "")
            change.audit("signed_out_everywhere", administrator=who.id, sessions=str(count))
        return count

    async def sessions(self, token: str) -> list[Session]:
        """Where whoever this one is of is signed in."""
        who = (await self._who(token)).administrator
        async with self._store.reading() as connection:
            return await sign_in.list_sessions(connection, who.id, self._clock(), self._settings.session_idle)

    async def tidy(self) -> int:
        """Forget sessions, links, grants and budgets that are over; call it every hour or so."""
        async with self._store.writing() as connection:
            await administrators.forget_grants(connection, self._clock())
            return await sign_in.tidy(connection, self._clock(), self._settings.session_idle)

    async def confirm(self, token: str, *, password: str, code: str = "") -> str:
        """Whoever has this session is proven anew, as for signing in; the session's new token.

        For a while it may then be used for what an open session alone is not enough for.
        """
        known = await self._who(token)
        await self._confirm(known, password, code)
        async with self._change(known.administrator) as change:
            change.audit("session_confirmed", administrator=known.administrator.id)
            return await self._renewed(change, token)

    # --- passwords ----------------------------------------------------------------------------------

    async def change_password(self, token: str, *, password: str, new: str, code: str = "") -> str:
        """Another password; all other sessions end, and this one goes on under the token that is returned."""
        known = await self._who(token)
        who = known.administrator
        check_password(new, who.email, self._settings.login_password_least)
        await self._confirm(known, password, code)
        hashed = await self._passwords.hash(new)
        async with self._change(who) as change:
            await administrators.write_administrator(change.connection, who.id, password=hashed)
            change.audit("password_changed", severity="warning", administrator=who.id)
            return await self._renew(change, who, token)

    async def request_reset(self, email: str, *, came: Came | None = None) -> None:
        """Mail a link to set a password, when there is such a login; nobody is told whether there is."""
        login, now, place = login_of(email), self._clock(), place_of((came or Came()).address)
        async with self._store.writing() as connection:
            allowed = await sign_in.take(connection, f"source/{place}", self._of_source, now)
            allowed = await sign_in.take(connection, f"reset/{hidden(login)}", _RESETS, now) and allowed
        if not allowed:
            return
        async with self._store.changing(login, now) as change:
            found = await administrators.find_administrator(change.connection, login)
            if found is None or found.email != login or not self._settings.mail_host:
                return
            token, until = new_token(), now + self._settings.login_link_life
            await sign_in.insert_link(change.connection, token, found.id, until, found.email)
            await queue_reset(change, self._store.box, found, token, until)
            change.audit("password_reset_asked", administrator=found.id)

    async def link_of(self, link: str) -> Administrator:
        """Whose password a link sets; NotFound when it is over. It is not used up by looking."""
        async with self._store.reading() as connection:
            ident = await sign_in.find_link(connection, link, self._clock())
            found = await administrators.find_administrator(connection, ident) if ident else None
        if found is None:
            raise NotFound("this link has been used or is too old: ask for another one")
        return found

    async def set_password(self, link: str, password: str) -> Administrator:
        """Use a link up: a new password, and the end of all sessions. A second factor stays as it is."""
        who = await self.link_of(link)
        check_password(password, who.email, self._settings.login_password_least)
        hashed = await self._passwords.hash(password)
        async with self._store.changing(who.email, self._clock()) as change:
            if not await sign_in.use_link(change.connection, link, change.at):
                raise NotFound("this link has been used or is too old: ask for another one")
            await administrators.write_administrator(change.connection, who.id, password=hashed)
            await sign_in.end_sessions(change.connection, who.id)
            change.audit("password_set", severity="warning", administrator=who.id, cause="link")
        return who

    # --- second factor ------------------------------------------------------------------------------

    async def begin_totp(self, token: str) -> Enrolment:
        """A seed for an authenticator app; nothing is stored before ``confirm_totp``."""
        who = (await self._who(token)).administrator
        seed = new_seed()
        return Enrolment(seed, uri_of(seed, who.email, self._settings.server_name))

    async def totp_uri(self, token: str, seed: str) -> str:
        """The same of a seed that was begun with: what an authenticator app reads."""
        return uri_of(seed, (await self._who(token)).administrator.email, self._settings.server_name)

    async def confirm_totp(self, token: str, *, password: str, seed: str, code: str) -> tuple[str, list[str]]:
        """Let a second factor be needed from now on; the session's new token, and recovery codes, shown once."""
        known = await self._who(token)
        who = known.administrator
        if known.totp is not None:
            raise Conflict("there is a second factor already: take it off first")
        await self._confirm(known, password, "")
        step = _step(seed, code, self._clock())
        codes = new_recovery_codes(secrets.choice)
        sealed = self._store.box.seal(seed.encode("ascii"), "administrator", who.id, SEED)
        async with self._change(who) as change:
            await administrators.write_administrator(change.connection, who.id, totp=sealed, totp_step=step)
            await administrators.write_recovery(change.connection, who.id, [recovery_finder(one) for one in codes])
            change.audit("second_factor_set", severity="warning", administrator=who.id)
            return await self._renew(change, who, token), codes

    async def take_off_totp(self, token: str, *, password: str, code: str = "") -> str:
        """The password alone is enough from now on; the session's new token."""
        known = await self._who(token)
        await self._confirm(known, password, code)
        async with self._change(known.administrator) as change:
            await take_off_totp(change, known.administrator)
            return await self._renew(change, known.administrator, token)

    # --- parts --------------------------------------------------------------------------------------

    async def _who(self, token: str) -> Credentials:
        principal = await self.by_session(token)
        async with self._store.reading() as connection:
            found = await administrators.read_credentials(connection, principal.actor)
        if found is None:
            raise NotSignedIn("this administrator was removed")
        return found

    async def _confirm(self, known: Credentials, password: str, code: str) -> None:
        """A session alone may be somebody's who found it open; wrong tries count like those of signing in.

        The second factor is asked for as well, where there is one: whoever passes here counts as proven anew.
        """
        now, key = self._clock(), f"confirm/{known.administrator.id}"
        async with self._store.writing() as connection:
            allowed = await sign_in.take(connection, key, self._of_login, now)
        right = await self._passwords.verify(known.password, password) and allowed
        if not await self._proven(known, right, code, now):
            what = "the password is" if known.totp is None else "password or code are"
            raise LoginRefused(f"{what} not right, or there were too many tries: wait a while")
        async with self._store.writing() as connection:
            await sign_in.give_back(connection, key, self._of_login)

    def _change(self, who: Administrator) -> AbstractAsyncContextManager[Change]:
        """What somebody changes about themselves."""
        return self._store.changing(who.email, self._clock())

    async def _renew(self, change: Change, who: Administrator, token: str) -> str:
        """End every other session and give this one a new token."""
        await sign_in.end_sessions(change.connection, who.id, but=token)
        return await self._renewed(change, token)

    async def _renewed(self, change: Change, token: str) -> str:
        fresh = new_token()
        await sign_in.renew_session(change.connection, token, fresh, change.at)
        return fresh


async def take_off_totp(change: Change, who: Administrator) -> None:
    """Forget the seed and what would replace its codes."""
    await administrators.write_administrator(change.connection, who.id, totp=None, totp_step=-1)
    await administrators.write_recovery(change.connection, who.id, [])
    change.audit("second_factor_off", severity="warning", administrator=who.id)


def _step(seed: str, code: str, now: float) -> int:
    try:
        step = step_of(seed, code, now, -1)
    except ValueError:  # no base32
        raise Invalid("seed", "is not the one that was shown") from None
    if step is None:
        raise Invalid("code", "is not what the app shows now; compare the clocks of both")
    return step
