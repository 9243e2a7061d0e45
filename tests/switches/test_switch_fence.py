"""Where no switch is asked: this machine, its links and groups, whoever names them and by whatever name."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Invalid, Unusable
from provisioner.networks import allow_list
from provisioner.switches.agent import AgentFailed, Part
from provisioner.switches.credentials import Community
from provisioner.switches.engine import Where, resolved
from provisioner.switches.fence import CLOSED, Fence, fence_of, is_own
from provisioner.switches.switches import Switches

NOBODYS = ("169.254.169.254", "0.0.0.0", "224.0.0.1", "239.1.2.3", "255.255.255.255", "::", "fe80::1", "ff02::1")
HOME = ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::1")
HERE = Fence(allow_list("switch.allow", ["127.0.0.0/8"]))


def own_address() -> str:
    """One of this machine that is not loopback, as its routes have it; loopback where it has no other."""
    found = re.findall(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL", Path("/proc/net/fib_trie").read_text("ascii"))
    return next((one for one in found if not one.startswith("127.")), "127.0.0.1")


@pytest.mark.parametrize("host", [*NOBODYS, *HOME, own_address()])
@pytest.mark.asyncio
async def test_nobody_is_asked_at_home(host: str) -> None:
    with pytest.raises(AgentFailed, match="nobody is asked at") as failed:
        await resolved(Where(host))
    assert failed.value.part is Part.ADDRESS


@pytest.mark.asyncio
async def test_a_name_of_this_machine_is_judged_by_its_address() -> None:
    with pytest.raises(AgentFailed, match="this machine itself"):
        await resolved(Where("localhost"))
    assert (await resolved(Where("localhost", 161, HERE)))[1][0] == "127.0.0.1"


@pytest.mark.asyncio
async def test_who_is_told_of_alarms_may_be_here_and_no_group() -> None:
    told = Fence(here=True)
    assert (await resolved(Where("127.0.0.1", 162, told)))[1][0] == "127.0.0.1"
    for host in NOBODYS:
        with pytest.raises(AgentFailed):
            await resolved(Where(host, 162, told))


@pytest.mark.parametrize("host", ["169.254.1.7", "127.0.0.1"])
def test_what_the_operator_lists_is_asked(host: str) -> None:
    assert CLOSED.refusal(host)
    assert not Fence(allow_list("switch.allow", [f"{host}/32"])).refusal(host)
    assert CLOSED.refusal("switch.example.net"), "a name is no address"


def test_another_machine_is_not_this_one() -> None:
    assert not CLOSED.refusal("203.0.113.99")
    assert not is_own(ipaddress.ip_address("203.0.113.99"))
    assert own_address() == "127.0.0.1" or is_own(ipaddress.ip_address(own_address()))


@given(inner=st.ip_addresses(v=4, network="127.0.0.0/8"), form=st.sampled_from(["::ffff:{}", "64:ff9b::{}", "{}"]))
def test_loopback_is_seen_in_any_clothes(inner: ipaddress.IPv4Address, form: str) -> None:
    assert "this machine itself" in CLOSED.refusal(form.format(inner))


@pytest.mark.asyncio
async def test_the_house_itself_may_not_add_it_unless_it_is_listed(desk: Switches) -> None:
    read = Community("public")
    await desk.add_switch("listed", account="Acme", address="127.0.0.1", port=9, read=read)
    closed = Switches(desk._store, desk._drivers, replace(desk._settings, switch_allow=()), actor="ann")
    for host in (*NOBODYS, *HOME, own_address()):
        with pytest.raises(Invalid, match=r"switch\.allow"):
            await closed.add_switch("here", account="Acme", address=host, read=read)
        with pytest.raises(Invalid, match=r"switch\.allow"):
            await closed.change_switch("listed", address=host)
    (finding,) = (await closed.test_switch("listed")).findings
    assert (finding.step, finding.good, finding.part) == ("address", False, Part.ADDRESS)
    assert "this machine itself" in finding.words
    await closed.add_switch("far", account="Acme", address="203.0.113.7", read=read)
    with pytest.raises(Unusable, match=r"switch\.allow"):
        fence_of(replace(desk._settings, switch_allow=("everything",)))
