"""Secrets are revealed a short while after somebody was proven, and nobody locks out whoever alone owns all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.administrators import Administrators
from provisioner.errors import Forbidden, LoginRefused, Throttled
from provisioner.keys_desk import ApiKeys
from provisioner.passwords import Passwords
from provisioner.rights import OPERATOR, Principal
from provisioner.roles import REVEALS, Right, Role
from provisioner.roster import Roster
from provisioner.settings import Settings
from provisioner.sign_in import Came
from provisioner.store.database import Store

RIGHT, WRONG = "correct horse battery", "incorrect horse battery"
HOME = Came("192.0.2.1")


class Office:
    """One owner, and a clock of its own."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.now = 1_800_000_000.0
        self.store, self.settings = store, settings
        self.passwords = Passwords(settings)
        self.people = Administrators(store, settings, passwords=self.passwords, clock=lambda: self.now)

    async def add(self, email: str, role: Role = Role.OWNER) -> None:
        roster = Roster(self.store, {}, self.settings, actor="root", clock=lambda: self.now)
        await roster.add_administrator(email, role=role)
        await roster.set_password(email, RIGHT, await self.passwords.hash(RIGHT))

    async def login(self, password: str, came: Came) -> str:
        return (await self.people.login("ann@example.net", password, came=came)).token

    async def use_up(self) -> None:
        """Strangers from many places take every attempt that the login has."""
        for number in range(3 * self.settings.login_tries):
            with pytest.raises((LoginRefused, Throttled)):
                await self.login(WRONG, Came(f"198.51.100.{number}"))


@pytest.fixture
def office(store: Store, tmp_path: Path) -> Office:
    cheap = {"login_hash_memory": 8, "login_hash_passes": 1, "login_hash_lanes": 1}
    return Office(store, Settings(data=tmp_path, **cheap))


@pytest.mark.asyncio
async def test_strangers_never_lock_out_whoever_alone_owns_all_of_it(office: Office) -> None:
    await office.add("ann@example.net")
    await office.add("tom@example.net", Role.AUDITOR)
    await office.use_up()
    with pytest.raises(Throttled):
        await office.login(WRONG, Came("203.0.113.5"))
    assert await office.login(RIGHT, Came("203.0.113.5"))


@pytest.mark.asyncio
async def test_one_of_two_owners_waits_as_everybody_does(office: Office) -> None:
    await office.add("ann@example.net")
    await office.add("bob@example.net")
    await office.use_up()
    with pytest.raises(Throttled):
        await office.login(RIGHT, Came("203.0.113.5"))


@pytest.mark.asyncio
async def test_a_place_that_guesses_is_throttled_whoever_it_guesses_at(office: Office) -> None:
    await office.add("ann@example.net")
    for _ in range(office.settings.login_tries_source):
        with pytest.raises((LoginRefused, Throttled)):
            await office.login(WRONG, Came("203.0.113.5"))
    with pytest.raises(Throttled):
        await office.login(RIGHT, Came("203.0.113.5"))


def _refuses(principal: Principal, cure: str) -> None:
    for right in REVEALS:
        assert principal.may(right)
        with pytest.raises(Forbidden, match=cure):
            principal.doing(right)
    principal.doing(Right.DEVICE_READ)


@pytest.mark.asyncio
async def test_a_session_reveals_secrets_for_a_while(office: Office) -> None:
    await office.add("ann@example.net")
    token = await office.login(RIGHT, HOME)
    (await office.people.by_session(token)).doing(Right.SECRET_REVEAL)
    office.now += office.settings.login_reveal
    (await office.people.by_session(token)).doing(Right.CODE_REVEAL)
    office.now += 1
    _refuses(await office.people.by_session(token), "sign in again")
    fresh = (await office.people.login("ann@example.net", RIGHT, came=HOME, before=token)).token
    (await office.people.by_session(fresh)).doing(Right.SECRET_REVEAL)


@pytest.mark.asyncio
async def test_a_key_reveals_secrets_for_a_while(office: Office) -> None:
    desk = ApiKeys(office.store, {}, office.settings, clock=lambda: office.now, principal=OPERATOR)
    made = await desk.make_key("script", scopes=[*REVEALS, Right.DEVICE_READ])
    (await office.people.by_token(made.key)).doing(Right.SECRET_REVEAL)
    office.now += office.settings.apikey_reveal * 3600 + 1
    _refuses(await office.people.by_token(made.key), "make a new key")
