"""Whoever finds a session open gets no lasting way in: for that the password is given again, and a code with it."""

from __future__ import annotations

import base64
import hmac
import struct
from pathlib import Path

import pytest

from provisioner.administrators import Administrators
from provisioner.errors import LoginRefused, ProofNeeded
from provisioner.passwords import Passwords
from provisioner.rights import OPERATOR, Principal
from provisioner.roles import LASTING, REVEALS, Right, Role
from provisioner.roster import Roster
from provisioner.settings import Settings
from provisioner.sign_in import Came
from provisioner.store.database import Store

pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("url", ["sqlite"], indirect=True)]
ANN, WORD, WRONG = "ann@example.net", "correct horse battery", "incorrect horse battery"


class Screen:
    """An owner who is signed in, and a clock."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.now = 1_800_000_000.0
        self.store, self.settings = store, settings
        self.passwords = Passwords(settings)
        self.people = Administrators(store, settings, passwords=self.passwords, clock=lambda: self.now)
        self.token = ""

    def roster(self, principal: Principal) -> Roster:
        return Roster(self.store, {}, self.settings, clock=lambda: self.now, principal=principal)

    async def open(self) -> None:
        await self.roster(OPERATOR).add_administrator(ANN, role=Role.OWNER)
        await self.roster(OPERATOR).set_password(ANN, WORD, await self.passwords.hash(WORD))
        self.token = (await self.people.login(ANN, WORD, came=Came("192.0.2.1"))).token

    async def leave(self, seconds: float) -> None:
        """Somebody goes on using it, so it does not end."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 600)
            await self.people.by_session(self.token)

    async def who(self) -> Principal:
        return await self.people.by_session(self.token)

    async def refuses(self, *rights: Right) -> None:
        who = await self.who()
        for right in rights:
            assert who.may(right)
            with pytest.raises(ProofNeeded, match="give the password again"):
                who.doing(right)
        who.doing(Right.DEVICE_WRITE)

    def code(self, seed: str) -> str:
        """RFC 6238: SHA-1, 30 s, six digits."""
        digest = hmac.digest(base64.b32decode(seed), struct.pack(">Q", int(self.now) // 30), "sha1")
        number = struct.unpack(">I", digest[digest[-1] & 15 :][:4])[0] & 0x7FFFFFFF
        return f"{number % 1_000_000:06}"


@pytest.fixture
def screen(store: Store, tmp_path: Path) -> Screen:
    cheap = {"login_hash_memory": 8, "login_hash_passes": 1, "login_hash_lanes": 1}
    return Screen(store, Settings(data=tmp_path, **cheap))


async def test_a_screen_left_unlocked_lets_nobody_in_for_good(screen: Screen) -> None:
    await screen.open()
    await screen.leave(screen.settings.login_lasting)
    (await screen.who()).doing(Right.ROLE_WRITE)
    await screen.leave(1)
    await screen.refuses(*LASTING, *REVEALS)
    with pytest.raises(ProofNeeded):
        await screen.roster(await screen.who()).give_role(ANN, Role.AUDITOR)


async def test_the_password_lets_it_go_on_under_another_token(screen: Screen) -> None:
    await screen.open()
    await screen.leave(screen.settings.login_lasting + 1)
    before, session = screen.token, (await screen.who()).credential
    screen.token = await screen.people.confirm(before, password=WORD)
    assert screen.token != before
    who = await screen.who()
    assert who.credential == session
    await screen.roster(who.doing(Right.ROLE_WRITE)).add_administrator("new@example.net", role=Role.AUDITOR)
    await screen.leave(screen.settings.login_lasting + 1)
    await screen.refuses(*LASTING)


async def test_a_wrong_password_does_not_and_tries_are_few(screen: Screen) -> None:
    await screen.open()
    await screen.leave(screen.settings.login_lasting + 1)
    for _ in range(screen.settings.login_tries):
        with pytest.raises(LoginRefused):
            await screen.people.confirm(screen.token, password=WRONG)
    with pytest.raises(LoginRefused, match="too many"):
        await screen.people.confirm(screen.token, password=WORD)
    await screen.refuses(*LASTING)


async def test_a_known_password_does_not_go_round_the_second_factor(screen: Screen) -> None:
    await screen.open()
    made = await screen.people.begin_totp(screen.token)
    code = screen.code(made.seed)
    screen.token, spare = await screen.people.confirm_totp(screen.token, password=WORD, seed=made.seed, code=code)
    await screen.leave(screen.settings.login_lasting + 1)
    for wrong in ("", code):
        with pytest.raises(LoginRefused, match="code"):
            await screen.people.change_password(screen.token, password=WORD, new="eleven blue herons", code=wrong)
        with pytest.raises(LoginRefused, match="code"):
            await screen.people.take_off_totp(screen.token, password=WORD, code=wrong)
    await screen.refuses(*LASTING)
    screen.token = await screen.people.change_password(
        screen.token, password=WORD, new="eleven blue herons", code=spare[0]
    )
    (await screen.who()).doing(Right.ROLE_WRITE)


async def test_the_second_factor_is_asked_for_where_there_is_one(screen: Screen) -> None:
    await screen.open()
    made = await screen.people.begin_totp(screen.token)
    code = screen.code(made.seed)
    screen.token, spare = await screen.people.confirm_totp(screen.token, password=WORD, seed=made.seed, code=code)
    await screen.leave(screen.settings.login_lasting + 1)
    for wrong in ("", "000000", code):
        with pytest.raises(LoginRefused):
            await screen.people.confirm(screen.token, password=WORD, code=wrong)
    screen.token = await screen.people.confirm(screen.token, password=WORD, code=screen.code(made.seed))
    (await screen.who()).doing(Right.ROLE_WRITE)
    await screen.leave(screen.settings.login_lasting + 1)
    screen.token = await screen.people.confirm(screen.token, password=WORD, code=spare[0])
    (await screen.who()).doing(Right.ROLE_WRITE)


async def test_keys_of_the_api_are_not_asked(screen: Screen) -> None:
    """Nobody leaves one unlocked; what they must not do they may not at all."""
    await screen.open()
    from provisioner.keys_desk import ApiKeys

    desk = ApiKeys(screen.store, {}, screen.settings, clock=lambda: screen.now, principal=OPERATOR)
    made = await desk.make_key("script", scopes=[Right.ROLE_WRITE])
    screen.now += 5 * 86_400
    (await screen.people.by_token(made.key)).doing(Right.ROLE_WRITE)
