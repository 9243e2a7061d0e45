"""What a phone of a storm takes for its own: every line with its password, every file, and also when it gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_server import Asked, Certificates, Reply, ScriptedServer
from test_storm_plan import crowd
from test_storm_run import CONFIG, Provisioning, cast, plan_for

from provisioner.model import Mac
from provisioner.simulator.obi_walk import walk_obi
from provisioner.simulator.persona import load_persona
from provisioner.simulator.phone import Flash, Phone
from provisioner.simulator.poly_walk import walk_ucs
from provisioner.simulator.report import RegisteredLine, Step
from provisioner.simulator.storm import run_storm
from provisioner.simulator.storm_boot import Bodies, _outcome
from provisioner.simulator.storm_plan import Mode, StormPhone
from provisioner.simulator.storm_report import StormReport
from provisioner.simulator.walk import GaveUp, Result, Walk
from provisioner.simulator.wire import Answer, NoAnswer, TlsSeen
from provisioner.simulator.yealink_walk import walk_yealink

OWN = replace(crowd(["a"])[0], auth_user="u1", secret="own-password")


def line(number: int = 1, user: str = "u1", secret: str = "own-password") -> RegisteredLine:
    return RegisteredLine(number, user, user, "pbx.example", "tls", secret=secret)


def outcome(*lines: RegisteredLine, phone: StormPhone = OWN, refused: str = "") -> str:
    attempt: Any = SimpleNamespace(statuses=[200, 503] if refused else [200, 404])
    return _outcome(phone, attempt, Result(lines=lines, refused_because=refused))


def test_every_line_and_its_password_are_compared() -> None:
    assert outcome(line()) == "back"
    assert outcome() == "no_line"
    assert outcome(line(user="u2")) == "wrong_body"
    assert outcome(line(secret="another")) == "wrong_body"
    assert outcome(line(), line(2, "u2", "another")) == "wrong_body"
    assert outcome(line(2)) == "wrong_body", "its own, on a line that it has not"
    assert outcome(line(secret="")) == "wrong_body", "it could not register"
    assert outcome(line(user="u2"), refused="503") == "wrong_body", "whatever else was refused"
    assert outcome(line(secret=""), refused="503") == "refused_503", "the password was in what was refused"


def test_what_is_not_known_is_not_compared() -> None:
    assert outcome(line(secret="any"), phone=replace(OWN, secret="")) == "back"
    assert outcome(line(user="any"), line(2), phone=replace(OWN, auth_user="")) == "back"


def test_a_password_is_in_no_repr() -> None:
    assert "own-password" not in repr(OWN)


def test_a_file_without_a_line_is_compared_with_what_the_same_phone_got_before() -> None:
    bodies, other = Bodies(), replace(OWN, mac=Mac("001565ffffff"))
    book = Step("GET", "directory.xml", 200, 9, sha256="ab" * 32)
    changed = replace(book, sha256="cd" * 32)
    assert not bodies.changed(OWN, [book, replace(changed, path="another.xml")])
    assert not bodies.changed(OWN, [book])
    assert not bodies.changed(other, [changed]), "its own may be another one"
    missing = replace(changed, status=404)
    assert not bodies.changed(OWN, [missing, replace(changed, method="PUT"), replace(changed, sha256="")])
    assert bodies.changed(OWN, [changed, book])


# --- given up half-way ------------------------------------------------------------------------------


class Cut:
    """Answers with the files it has; 404 to ``absent``; then it is silent."""

    def __init__(self, files: Mapping[str, str], absent: tuple[str, ...]) -> None:
        self._files, self._absent = files, absent

    async def exchange(self, _method: str, target: str, _headers: Mapping[str, str], _body: bytes = b"") -> Answer:
        if (found := self._files.get(target)) is not None:
            return Answer(200, {}, found.encode(), "")
        if target in self._absent:
            return Answer(404, {}, b"", "")
        raise NoAnswer("silence", final=True)

    async def close(self) -> None:
        pass


UCS = '<PHONE_CONFIG><ALL reg.1.address="u2" reg.1.auth.userId="u2" reg.1.auth.password="p2"'
UCS += ' reg.1.server.1.address="pbx.example"/></PHONE_CONFIG>'
BOOT = "#!version:1.0.0.1\ninclude:config <$MAC.cfg>\ninclude:config <more.cfg>\n"
HALF: list[tuple[str, str, Callable[[Walk], Any], dict[str, str], tuple[str, ...]]] = [
    ("poly", "VVX 411", walk_ucs, {"/0004f2000001.cfg": '<APPLICATION CONFIG_FILES="a.cfg"/>', "/a.cfg": UCS}, ()),
    ("yealink", "T46S", walk_yealink, {"/0004f2000001.boot": BOOT, "/0004f2000001.cfg": CONFIG.format("u2")}, ()),
]


@pytest.mark.parametrize(("vendor", "model", "walks", "files", "absent"), HALF, ids=["poly", "yealink"])
@pytest.mark.asyncio
async def test_what_was_read_before_a_phone_gave_up_is_known(
    vendor: str, model: str, walks: Callable[[Walk], Any], files: dict[str, str], absent: tuple[str, ...]
) -> None:
    phone = Phone(load_persona(vendor, model), Mac("0004f2000001"), attempts=1)
    walk = Walk(phone, "https://localhost/", Flash(), TlsSeen(), lambda _: Cut(files, absent))
    assert walk.lines_read() == ()
    with pytest.raises(GaveUp):
        await walks(walk)
    assert [one.auth_user for one in walk.lines_read()] == ["u2"]


@pytest.mark.asyncio
async def test_an_ata_has_read_all_when_it_has_read_its_one_file() -> None:
    phone = Phone(load_persona("poly", "OBi302"), Mac("0004f2000001"), attempts=1)
    walk = Walk(phone, "https://localhost/", Flash(), TlsSeen(), lambda _: Cut({}, ("/0004F2000001.xml",)))
    result = await walk_obi(walk)
    assert walk.lines_read() == result.lines == ()


# --- whole storms -----------------------------------------------------------------------------------


async def storm(certificates: Certificates, script: Callable[[Asked], Reply], **values: object) -> StormReport:
    async with ScriptedServer(script, certificates.context(required=True)) as server:
        phones = tuple(replace(one, secret="s3cret") for one in cast(certificates, 3))
        return await asyncio.to_thread(run_storm, plan_for(certificates, server.port, phones, **values))


@pytest.mark.asyncio
async def test_another_phones_password_is_found_and_so_is_a_second_line(certificates: Certificates) -> None:
    right = Provisioning()

    def script(asked: Asked) -> Reply:
        reply = right(asked)
        if asked.path == "/001565000001.cfg":
            return replace(reply, body=reply.body.replace(b"s3cret", b"of another"))
        if asked.path == "/001565000002.cfg":
            return replace(reply, body=reply.body + CONFIG.format(1).replace("account.1", "account.2").encode())
        return reply

    report = await storm(certificates, script)
    assert report.outcomes == {"back": 1, "wrong_body": 2}
    assert not report.good


@pytest.mark.asyncio
async def test_another_phones_file_is_found_when_the_next_one_never_comes(certificates: Certificates) -> None:
    right = Provisioning(lambda number: {1: 2}.get(number, number))

    def script(asked: Asked) -> Reply:
        if asked.path == "/001565000001.boot":
            return Reply(BOOT.encode(), media_type="text/plain")
        return Reply(raw=b"HTTP/1.1 ") if asked.path == "/more.cfg" else right(asked)

    assert (await storm(certificates, script, retries=False)).outcomes == {"back": 2, "wrong_body": 1}


@pytest.mark.asyncio
async def test_a_common_file_that_changes_from_boot_to_boot_is_found(certificates: Certificates) -> None:
    right, common = Provisioning(), iter(range(1000))

    def script(asked: Asked) -> Reply:
        if asked.path.startswith("/y0") and asked.path.endswith(".cfg"):
            return Reply(f"#!version:1.0.0.1\nstatic.x = {next(common)}\n".encode(), media_type="text/plain")
        return right(asked)

    report = await storm(certificates, script, mode=Mode.RATE, rate=12.0, seconds=0.5)
    assert report.outcomes["back"] == 3, "the first of each"
    assert report.wrong_bodies == report.attempts - 3 > 0
