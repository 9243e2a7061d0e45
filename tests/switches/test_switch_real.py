"""Error words against an agent that is strict: net-snmp's, with lldpd's tables where there is an lldpd."""

from __future__ import annotations

from pathlib import Path

import pytest
from cabinet import Cabinet
from snmp_lab import AUTH_KEY, PRIVACY_KEY, READ, USER, WRITE, free_port, real

from provisioner.switches.agent import Part
from provisioner.switches.check import Finding
from provisioner.switches.credentials import Auth, Community, Credential, Privacy, User
from provisioner.switches.switches import Switches

HOST = "127.0.0.1"
RIGHT = User(USER, Auth.SHA256, AUTH_KEY, Privacy.AES, PRIVACY_KEY)
MADE = f'{USER} SHA-256 "{AUTH_KEY}" AES "{PRIVACY_KEY}"'


async def tried(desk: Switches, port: int, read: Credential, write: Credential | None = None) -> tuple[Finding, ...]:
    made = await desk.add_switch("sw1", account="Acme", address=HOST, port=port, read=read, write=write)
    try:
        return (await desk.test_switch("sw1")).findings
    finally:
        await desk.remove_switch(made.id)


def wrong(told: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(one.step, one.part) for one in told if not one.good]


@pytest.mark.slow
@pytest.mark.asyncio
async def test_each_part_of_a_credential_is_named_when_it_is_wrong(desk: Switches, tmp_path: Path) -> None:
    with real(tmp_path, Cabinet(crowd=1), users=(MADE,)) as switch:
        good = await tried(desk, switch.port, Community(READ), Community(WRITE))
        assert wrong(good) == []
        assert [one.step for one in good] == ["address", "reading", "tables", "changing"]
        assert wrong(await tried(desk, switch.port, RIGHT, RIGHT)) == []
        cases: list[tuple[Credential, Credential | None, tuple[str, str], str]] = [
            (Community("nobody"), None, ("reading", Part.COMMUNITY), "does not answer to this community"),
            (Community(READ), Community("nobody"), ("changing", Part.READ_ONLY), "read-only on the switch, or wrong"),
            (Community(WRITE), Community(READ), ("changing", Part.READ_ONLY), "community is read-only on the switch"),
            (
                User("stranger", Auth.SHA256, AUTH_KEY, Privacy.AES, PRIVACY_KEY), None,
                ("reading", Part.USER), "does not know this user",
            ),
            (
                User(USER, Auth.SHA256, "another-key-3", Privacy.AES, PRIVACY_KEY), None,
                ("reading", Part.AUTH), "auth key",
            ),
            (
                User(USER, Auth.SHA512, AUTH_KEY, Privacy.AES, PRIVACY_KEY), None, ("reading", Part.AUTH), "auth key",
            ),
            (
                User(USER, Auth.SHA256, AUTH_KEY, Privacy.AES, "another-key-4"), None,
                ("reading", Part.PRIVACY), "privacy key",
            ),
        ]  # fmt: skip
        for read, write, part, words in cases:
            told = await tried(desk, switch.port, read, write)
            assert wrong(told) == [part], told
            assert words in told[-1].words, told
        again = await tried(desk, switch.port, RIGHT)
        assert wrong(again) == [], "a corrected password counts at once"


@pytest.mark.asyncio
async def test_an_address_where_nothing_is_says_so(desk: Switches) -> None:
    told = await tried(desk, free_port(), RIGHT)
    assert wrong(told) == [("address", Part.ADDRESS)]
    assert "no SNMP is spoken on this port" in told[0].words
    told = await tried(desk, free_port(), Community("public"))
    assert wrong(told) == [("address", Part.ADDRESS)]


@pytest.mark.asyncio
async def test_keys_that_are_lengthened_in_another_way_are_told(desk: Switches, tmp_path: Path) -> None:
    """Cisco's way with AES-256 differs behind SHA-1, whose hash is shorter than the key."""
    from snmp_lab import simulated

    with simulated(tmp_path, {"self": Cabinet(crowd=1).rows()}, v3=True, algorithms=("SHA", "AES256")) as port:
        told = await tried(desk, port, User(USER, Auth.SHA, AUTH_KEY, Privacy.AES256, PRIVACY_KEY))
    assert wrong(told) == [("reading", Part.PRIVACY)]
    assert "take aes256-cisco" in told[-1].words


@pytest.mark.asyncio
async def test_a_test_changes_nothing(desk: Switches, tmp_path: Path) -> None:
    with real(tmp_path, Cabinet(crowd=1)) as switch:
        before = switch.said["rows"]
        await tried(desk, switch.port, Community(READ), Community(WRITE))
        assert switch.said["rows"] == before
        assert switch.said["log"] == [["1", "1"]], "it was tried by writing what is there"
