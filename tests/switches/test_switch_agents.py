"""Where a phone is, asked of agents that nobody here wrote: with VLANs and without, v2c and v3, HP and Cisco."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cabinet import CISCO, DATA, HP, PHONE, VOICE, Cabinet
from snmp_lab import AUTH_KEY, PRIVACY_KEY, READ, USER, real, simulated

from provisioner.diagnosis.facts import Kind, as_line
from provisioner.errors import Conflict, NotFound
from provisioner.model import Mac
from provisioner.switches import oids
from provisioner.switches.credentials import Auth, Community, Credential, Privacy, User
from provisioner.switches.engine import shared
from provisioner.switches.oids import Oid, Value
from provisioner.switches.switches import Switches
from provisioner.switches.values import Port
from provisioner.switches.vlans import VlanVerdict
from provisioner.switches.witness import facts_of, find_facts

MAC = Mac(PHONE)
WRONG = {
    VlanVerdict.NOT_OFFERED: Cabinet(offered=0, crowd=3), VlanVerdict.NOT_TAKEN: Cabinet(used=DATA, crowd=3),
    VlanVerdict.ELSEWHERE: Cabinet(seen=(DATA,), used=0, crowd=3),
    VlanVerdict.NO_MEMBER: Cabinet(offered=130, fdb={DATA: 10, VOICE: 120}, crowd=3),
}  # fmt: skip
HOST = "127.0.0.1"


def cisco() -> Cabinet:
    return Cabinet(maker=CISCO, by_vlan=False, cdp_voice=VOICE, crowd=3)


def views(one: Cabinet, name: str) -> dict[str, dict[Oid, Value]]:
    return {name.format(vlan): one.view(vlan) for vlan in (1, DATA, VOICE)}


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """One snmpsim with many switches: the community says which."""
    switches = {
        "plain": Cabinet(), "hp": Cabinet(maker=HP, by_vlan=False, crowd=3), "cisco": cisco(),
        "silent": Cabinet(learned=False, others=(), crowd=3), "elsewhere": Cabinet(phone="0004f2ffffff", crowd=3),
    }  # fmt: skip
    switches |= {f"v-{verdict}": one for verdict, one in WRONG.items()}
    rows = {name: one.rows() for name, one in switches.items()} | views(cisco(), "cisco@{}")
    rows["numbers"] = {oid: _number(oid, value) for oid, value in Cabinet().rows().items()}
    with simulated(tmp_path_factory.mktemp("agents"), rows) as port:
        yield port


def _number(oid: Oid, value: Value) -> Value:
    """Names of ports as some switches give them; two have the same one."""
    if oid[: len(oids.IF_NAME)] != oids.IF_NAME:
        return value
    assert isinstance(value, bytes)
    return value.rpartition(b"/")[2].replace(b"10", b"9")


async def at(desk: Switches, port: int, read: Credential, name: str = "sw1") -> None:
    await desk.add_switch(name, account="Acme", site="HQ", address=HOST, port=port, read=read)


async def found(desk: Switches) -> Port:
    told = await desk.find_port(MAC)
    assert told.port is not None, told
    return told.port


@pytest.mark.asyncio
async def test_a_phone_is_found_by_its_fdb_and_everything_about_it_is_told(desk: Switches, agents: int) -> None:
    await at(desk, agents, Community("plain"))
    one = await found(desk)
    report = await desk.check_vlan(MAC)
    facts = await find_facts(desk, MAC)
    assert (one.switch, one.name, one.alias, one.if_index, one.link) == ("sw1", "Gi1/0/7", "desk 7", 10107, "up")
    assert (one.vlans, one.native, one.tagged, one.untagged) == ((VOICE,), DATA, {VOICE}, {DATA})
    assert (one.macs, [str(mac) for mac in one.others], one.uplink) == (2, ["b827eb000001"], "")
    assert [(vlan.vlan, vlan.tagged, vlan.priority, vlan.dscp) for vlan in one.offered] == [(VOICE, True, 5, 46)]
    assert one.used is not None
    assert one.used.vlan == VOICE
    assert one.neighbour is not None
    assert (one.neighbour.mac, one.neighbour.is_phone, one.inventory["model"]) == (MAC, True, "VVX 411")
    assert one.poe is None, "nothing is known of this maker's PoE ports"
    assert report.check is not None
    assert report.check.verdict is VlanVerdict.RIGHT
    kinds = [(fact.kind, fact.values.get("vlan")) for fact in facts]
    assert kinds == [(Kind.PORT, "120"), (Kind.VLAN_OFFERED, "120"), (Kind.VLAN_USED, "120"), (Kind.VLAN_USED, "120")]
    assert str(facts[0].witness) == "switch: sw1 1.3.6.1.2.1.17.7.1.2.2.1.2.1120.0.4.242.170.187.204"
    assert all(isinstance(value, str) for fact in facts for value in as_line(fact)["values"].values())  # type: ignore[attr-defined]  # JSON


@pytest.mark.parametrize(
    ("auth", "privacy", "simulator"),
    [
        (Auth.SHA512, Privacy.AES256, ("SHA512", "AES256BLMT")),
        pytest.param(Auth.SHA256, Privacy.AES, ("SHA256", "AES"), marks=pytest.mark.slow),
        pytest.param(Auth.SHA, Privacy.AES256_CISCO, ("SHA", "AES256"), marks=pytest.mark.slow),
        pytest.param(Auth.MD5, Privacy.DES, ("MD5", "DES"), marks=pytest.mark.slow),  # each has an agent of its own
    ],
)
@pytest.mark.asyncio
async def test_the_same_by_v3(
    desk: Switches, tmp_path: Path, auth: Auth, privacy: Privacy, simulator: tuple[str, str]
) -> None:
    with simulated(tmp_path, {"self": Cabinet(crowd=3).rows()}, v3=True, algorithms=simulator) as port:
        await at(desk, port, User(USER, auth, AUTH_KEY, privacy, PRIVACY_KEY))
        assert (await found(desk)).name == "Gi1/0/7"


@pytest.mark.slow  # two agents of their own
@pytest.mark.asyncio
async def test_two_switches_may_have_a_user_of_one_name_with_other_keys(desk: Switches, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    core = Cabinet("core", port=3, others=tuple(f"0200000001{n:02x}" for n in range(20)))
    with (
        simulated(tmp_path / "a", {"self": core.rows()}, v3=True, algorithms=("SHA", "AES")) as first,
        simulated(tmp_path / "b", {"self": Cabinet().rows()}, v3=True, algorithms=("SHA512", "AES")) as second,
    ):
        await at(desk, first, User(USER, Auth.SHA, AUTH_KEY, Privacy.AES, PRIVACY_KEY), "core")
        await at(desk, second, User(USER, Auth.SHA512, AUTH_KEY, Privacy.AES, PRIVACY_KEY), "desk")
        for _ in range(2):
            told = await desk.find_port(MAC)
            assert told.failed == ()
            assert told.port is not None
            assert (told.port.switch, [one.switch for one in told.on_the_way]) == ("desk", ["core"])


@pytest.mark.slow  # an agent of its own
@pytest.mark.asyncio
async def test_who_has_the_wrong_keys_for_a_switch_takes_it_from_nobody(desk: Switches, tmp_path: Path) -> None:
    with simulated(tmp_path, {"self": Cabinet(crowd=3).rows()}, v3=True, algorithms=("SHA", "AES")) as port:
        await at(desk, port, User(USER, Auth.SHA, AUTH_KEY, Privacy.AES, PRIVACY_KEY), "good")
        await at(desk, port, User(USER, Auth.SHA, "another-key-entirely", Privacy.AES, PRIVACY_KEY), "auth")
        await at(desk, port, User(USER, Auth.SHA, AUTH_KEY, Privacy.AES, "another-key-entirely"), "privacy")
        for _ in range(3):
            told = await desk.find_port(MAC)
            assert told.port is not None and told.port.switch == "good"
            assert sorted(name for name, _ in told.failed) == ["auth", "privacy"]


@pytest.mark.asyncio
async def test_a_switch_without_vlans_and_hps_numbers(desk: Switches, agents: int) -> None:
    await at(desk, agents, Community("hp"))
    one = await found(desk)
    assert (one.if_index, one.vlans, one.macs) == (7, (), 2)
    assert one.poe is not None
    assert (one.poe.index, one.poe.mapped, one.poe.words) == ((1, 7), "hp", "delivering")


def require_ciscos(told: Port) -> None:
    assert (told.if_index, told.vlans, told.macs) == (10107, (VOICE,), 2), "the PC is in the view of another VLAN"
    assert told.poe is not None
    assert (told.poe.index, told.poe.mapped, told.poe.cisco) == ((1, 7), "cisco", True)
    assert [(vlan.vlan, vlan.by) for vlan in told.offered] == [(VOICE, "lldp"), (VOICE, "cdp")]


@pytest.mark.asyncio
async def test_classic_cisco_has_a_community_for_each_vlan(desk: Switches, agents: int) -> None:
    await at(desk, agents, Community("cisco"))
    require_ciscos(await found(desk))


@pytest.mark.slow  # an agent of its own
@pytest.mark.asyncio
async def test_classic_cisco_has_a_context_for_each_vlan(desk: Switches, tmp_path: Path) -> None:
    served = {"self": cisco().rows(), **views(cisco(), "vlan-{}")}
    with simulated(tmp_path, served, v3=True) as port:
        await at(desk, port, User(USER, Auth.SHA256, AUTH_KEY, Privacy.AES, PRIVACY_KEY))
        require_ciscos(await found(desk))


@pytest.mark.asyncio
async def test_a_silent_phone_is_still_a_neighbour(desk: Switches, agents: int) -> None:
    await at(desk, agents, Community("silent"))
    one = await found(desk)
    report = await desk.check_vlan(MAC)
    assert (one.name, one.bridge_port, one.vlans, one.macs) == ("Gi1/0/7", 7, (), 1)
    assert report.check is not None
    assert report.check.verdict is VlanVerdict.UNSEEN


@pytest.mark.parametrize("verdict", WRONG)
@pytest.mark.asyncio
async def test_what_is_wrong_with_a_voice_vlan(desk: Switches, agents: int, verdict: VlanVerdict) -> None:
    await at(desk, agents, Community(f"v-{verdict}"))
    report = await desk.check_vlan(MAC)
    assert report.check is not None
    assert report.check.verdict is verdict, report.check


@pytest.mark.asyncio
async def test_whom_nobody_has_seen_is_nowhere_and_dead_switches_are_named(desk: Switches, agents: int) -> None:
    assert "no switch is known" in (await desk.find_port(MAC)).words
    await at(desk, agents, Community("elsewhere"))
    await at(desk, agents, Community("wrong"), "deaf")
    told = await desk.find_port(MAC)
    assert told.port is None
    assert told.words == "00:04:f2:aa:bb:cc was not seen by 1 switch that answered; 1 of 2 switches did not answer"
    assert [name for name, _ in told.failed] == ["deaf"]
    assert [fact.kind for fact in facts_of(told, 1.0)] == [Kind.BROKEN]
    with pytest.raises(NotFound):
        await desk.find_port(Mac("0004f2000000"))


@pytest.mark.asyncio
async def test_the_name_of_a_port_is_asked_of_the_switch(desk: Switches, agents: int) -> None:
    await at(desk, agents, Community("plain"))
    assert await desk.interface_named("sw1", "gi1/0/9") == 10109
    await desk.confirm_port("sw1", 10107, "1.7")
    one = await found(desk)
    with pytest.raises(NotFound):
        await desk.interface_named("sw1", "Gi9/9/9")
    assert one.poe is not None
    assert (one.poe.index, one.poe.mapped) == ((1, 7), "confirmed")


@pytest.mark.asyncio
async def test_a_number_is_a_ports_name_before_it_is_an_ifindex(desk: Switches, agents: int) -> None:
    """Ports that are called 1 to 12, with the ifIndexes 10101 to 10112, but two that are called 9."""
    await at(desk, agents, Community("numbers"))
    with pytest.raises(Conflict, match="port 7 of sw1 is interface 10107, not 7"):
        await desk.interface_named("sw1", "7")
    assert await desk.interface_named("sw1", "10107") == 10107
    with pytest.raises(Conflict, match="2 ports of sw1 are called 9; name one by its ifIndex: 10109, 10110"):
        await desk.interface_named("sw1", "9")
    with pytest.raises(NotFound):
        await desk.interface_named("sw1", "4711")


@pytest.mark.asyncio
async def test_whoever_comes_while_the_engine_is_made_gets_the_same(desk: Switches) -> None:
    del desk
    assert len({id(one) for one in await asyncio.gather(*(shared() for _ in range(5)))}) == 1


@pytest.mark.slow  # 200 agents, half of them dead
@pytest.mark.asyncio
async def test_two_hundred_switches_are_asked_within_ten_seconds(desk: Switches, tmp_path: Path) -> None:
    """99 of one snmpd, which is as quick as they are together, the one with the phone, and 100 that do not answer."""
    elsewhere = Cabinet("elsewhere", phone="0004f2ffffff", crowd=20, ports=8)
    with (
        real(tmp_path / "real", elsewhere) as others,
        simulated(tmp_path / "sim", {"public": Cabinet().rows()}) as port,
    ):
        for number in range(99):
            await at(desk, others.port, Community(READ), f"a{number}")
            await at(desk, others.port, Community("nobody"), f"d{number}")
        await at(desk, others.port, Community("nobody"), "d99")
        await at(desk, port, Community("public"), "a99")
        desk._settings = replace(desk._settings, switch_timeout=1.0)  # as it is by default
        began = time.monotonic(), time.process_time()
        told = await desk.find_port(MAC)
        lasted, cpu = time.monotonic() - began[0], time.process_time() - began[1]
    assert told.port is not None
    assert (told.port.switch, told.asked, len(told.failed)) == ("a99", 200, 100)
    assert lasted < 10, (lasted, cpu)
