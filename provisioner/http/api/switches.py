"""Switches: where a phone is plugged in, and which voice VLAN it uses."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from provisioner.fleet.device_search import Page
from provisioner.http.api.cursors import paged, read_cursor
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    Given,
    Id,
    Maybe,
    MaybeRef,
    Moment,
    Paged,
    Password,
    Ref,
    Text,
    Told,
    Turning,
)
from provisioner.rights import Right
from provisioner.store.switches import Switch
from provisioner.switches import credentials
from provisioner.switches.credentials import Auth, Credential, Privacy
from provisioner.switches.oids import dotted
from provisioner.switches.ports import Rule, read_map
from provisioner.switches.search import Found
from provisioner.switches.values import Port, VoiceVlan
from provisioner.switches.vlans import VlanVerdict

switches = Routes("switches", "Switches that are asked by SNMP, and what they say of phones.")

UdpPort = Annotated[int, Field(ge=1, le=65535)]
Address = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_.:-]+$")]


class AKey(Given):
    """What opens a switch: a community, or a user with keys."""

    community: Password = ""
    user: Annotated[str, Field(max_length=32)] = ""
    auth: Auth = Auth.NONE
    auth_key: Password = ""
    privacy: Privacy = Privacy.NONE
    privacy_key: Password = ""

    @model_validator(mode="after")
    def _one(self) -> AKey:
        if bool(self.community) == bool(self.user):
            raise ValueError("give a community (SNMPv2c) or a user (SNMPv3)")
        return self

    def credential(self) -> Credential:
        """As it is used; Invalid names the field that is wrong."""
        if self.community:
            return credentials.community(self.community)
        return credentials.user(self.user, self.auth, self.auth_key, self.privacy, self.privacy_key)


class NewSwitch(Given):
    """A switch to be."""

    name: Text
    account: Ref
    address: Address
    read: AKey
    site: Annotated[MaybeRef, Field(description="Empty: phones of all sites are looked for on it")] = ""
    port: UdpPort = 161
    write: Annotated[AKey | None, Field(description="What may change the power of a port")] = None
    rule: Rule = Rule.AUTO


class SwitchChange(Given):
    """What shall be different; what is left out stays."""

    name: Text | None = None
    address: Address | None = None
    port: UdpPort | None = None
    read: AKey | None = None
    write: AKey | None = None
    forget_write: Annotated[bool, Field(description="Nothing may be changed there any more")] = False
    rule: Rule | None = None


class ASwitch(Told):
    """A switch, without what opens it."""

    id: Id
    account: Id
    site: Maybe
    name: str
    address: str
    port: int
    rule: Annotated[Rule, Field(description="How its PoE ports are numbered")]
    writable: Annotated[bool, Field(description="Whether it has a second credential")]
    confirmed: Annotated[dict[str, str], Field(description="PoE ports that somebody has confirmed, by interface")]
    created: Moment


class SwitchesAsked(Turning):
    """Whose."""

    account: MaybeRef = ""


class Finding(Told):
    """One step of a test."""

    step: str
    good: bool
    part: Annotated[str, Field(description="What is wrong, in a word")]
    words: str


class SwitchTest(Told):
    """What came of a test."""

    switch: str
    good: bool
    findings: list[Finding]


class PortMap(Given):
    """Which PoE port an interface has."""

    interface: Annotated[int | str, Field(description="ifIndex, or the name of the port, which the switch is asked")]
    poe: Annotated[str, Field(pattern=r"^([0-9]{1,6}\.[0-9]{1,6})?$", description="group.port; empty: not known")]


class Vlan(Told):
    """A voice VLAN."""

    vlan: int
    tagged: bool | None
    priority: int
    dscp: int
    by: str


class PoePort(Told):
    """The power of a port."""

    port: Annotated[str, Field(description="group.port")]
    state: str
    known_by: Annotated[str, Field(description="hp, cisco, or confirmed by an administrator")]


class SwitchPort(Told):
    """A port of a switch."""

    switch: str
    name: str
    alias: str
    interface: int
    link: str
    vlans: list[int]
    native_vlan: int
    tagged_vlans: list[int]
    macs: Annotated[int | None, Field(description="null: more than are counted")]
    others: Annotated[list[str], Field(description="Other Macs on it: a PC behind the phone, say")]
    offered: list[Vlan]
    used: Vlan | None
    neighbour: str
    uplink: Annotated[str, Field(description="Why it may be an uplink; empty: it is not")]
    poe: PoePort | None
    oid: Annotated[str, Field(description="The object that says where the phone is")]


class Silent(Told):
    """A switch that did not answer."""

    switch: str
    why: str


class Whereabouts(Told):
    """Where a phone is plugged in, as switches say now."""

    mac: str
    what: str
    port: SwitchPort | None
    asked: int
    failed: list[Silent]


class VlanCheck(Told):
    """The voice VLAN that is offered, the one that is used, where the Mac is seen: one verdict."""

    mac: str
    verdict: VlanVerdict | None
    why: str
    cure: str
    offered: int
    used: int
    seen: list[int]


def _switch(one: Switch) -> ASwitch:
    names = ("id", "account", "site", "name", "address", "port", "rule", "writable", "created")
    ports = {str(interface): dotted(port) for interface, port in read_map(one.ports).items()}
    return ASwitch.model_validate({name: getattr(one, name) for name in names} | {"confirmed": ports})


def _ref(call: AnyCall) -> str:
    return call.path["switch"]


@switches.get("/switches", Right.SWITCH_READ, Paged[ASwitch], query=SwitchesAsked)
async def list_switches(call: AnyCall) -> Paged[ASwitch]:
    """The switches within reach, by name."""
    query: SwitchesAsked = call.query
    last = read_cursor("switches", query.cursor, str, str)
    after = (str(last[0]), str(last[1])) if last else ("", "")
    found = await call.desks.switches.switches(account=query.account, after=after, limit=query.limit)
    end = (found[-1].name, found[-1].id) if len(found) == query.limit else None
    return paged("switches", Page(found, end), ASwitch, _switch)


@switches.post("/switches", Right.SWITCH_WRITE, body=NewSwitch, told=ASwitch, status=201, made_at="/switches/{id}")
async def add_switch(call: AnyCall) -> ASwitch:
    """Add a switch; a test says whether what opens it is right."""
    given: NewSwitch = call.body
    made = await call.desks.switches.add_switch(
        given.name, account=given.account, address=given.address, site=given.site, port=given.port,
        read=given.read.credential(), write=given.write.credential() if given.write else None, rule=given.rule,
    )  # fmt: skip
    return _switch(made)


@switches.get("/switches/{switch}", Right.SWITCH_READ, ASwitch)
async def show_switch(call: AnyCall) -> ASwitch:
    """One switch, without what opens it."""
    return _switch(await call.desks.switches.switch(_ref(call)))


@switches.patch(
    "/switches/{switch}", Right.SWITCH_WRITE, body=SwitchChange, told=ASwitch, version=show_switch, must_match=True
)
async def change_switch(call: AnyCall) -> ASwitch:
    """Another name, address or rule, or what opens it."""
    given: SwitchChange = call.body
    found = await call.desks.switches.change_switch(
        _ref(call), name=given.name, address=given.address, port=given.port, rule=given.rule,
        read=given.read.credential() if given.read else None, forget_write=given.forget_write,
        write=given.write.credential() if given.write else None,
    )  # fmt: skip
    return _switch(found)


@switches.delete("/switches/{switch}", Right.SWITCH_WRITE, version=show_switch, must_match=True)
async def remove_switch(call: AnyCall) -> None:
    """Forget a switch, with what opens it."""
    await call.desks.switches.remove_switch(_ref(call))


@switches.post("/switches/{switch}/test", Right.SWITCH_WRITE, told=SwitchTest, whole=False)
async def test_switch(call: AnyCall) -> SwitchTest:
    """Try what opens it now, and say which part of it is wrong; nothing is changed at the switch."""
    told = await call.desks.switches.test_switch(_ref(call))
    return SwitchTest.model_validate({"switch": told.switch, "good": told.good, "findings": list(told.findings)})


async def _interface(call: AnyCall) -> int:
    """Asked before the transaction begins: the switch takes its time."""
    wanted = call.body.interface
    if isinstance(wanted, int):
        return wanted
    return await call.desks.switches.interface_named(_ref(call), wanted)


@switches.post(
    "/switches/{switch}/ports", Right.SWITCH_WRITE, body=PortMap, told=ASwitch, version=show_switch, prepare=_interface
)
async def confirm_port(call: AnyCall) -> ASwitch:
    """Say which PoE port an interface has, after somebody has looked: only then its power may be taken."""
    return _switch(await call.desks.switches.confirm_port(_ref(call), call.ready, call.body.poe))


# --- phones -----------------------------------------------------------------------------------------------------


@switches.get("/devices/{mac}/switch-port", Right.SWITCH_READ, Whereabouts)
async def find_port(call: AnyCall) -> Whereabouts:
    """Ask the switches of its site where a phone is plugged in."""
    return _whereabouts(await call.desks.switches.find_port(call.mac))


def _whereabouts(found: Found) -> Whereabouts:
    failed = [Silent(switch=name, why=why) for name, why in found.failed]
    port = _port(found.port) if found.port else None
    return Whereabouts(mac=found.mac, what=found.words, port=port, asked=found.asked, failed=failed)


def _port(one: Port) -> SwitchPort:
    poe = None
    if one.poe is not None:
        poe = PoePort(port=dotted(one.poe.index), state=one.poe.words, known_by=one.poe.mapped)
    return SwitchPort(
        switch=one.switch, name=one.name, alias=one.alias, interface=one.if_index, link=one.link,
        vlans=list(one.vlans), native_vlan=one.native, tagged_vlans=sorted(one.tagged), macs=one.macs,
        others=[str(mac) for mac in one.others], offered=[_vlan(vlan) for vlan in one.offered],
        used=_vlan(one.used) if one.used else None, neighbour=one.neighbour.words if one.neighbour else "",
        uplink=one.uplink, poe=poe, oid=dotted(one.seen),
    )  # fmt: skip


def _vlan(one: VoiceVlan) -> Vlan:
    return Vlan(vlan=one.vlan, tagged=one.tagged, priority=one.priority, dscp=one.dscp, by=one.by)


@switches.get("/devices/{mac}/vlan-check", Right.SWITCH_READ, VlanCheck)
async def check_vlan(call: AnyCall) -> VlanCheck:
    """Compare the voice VLAN that is offered, the one that is used, and where the Mac is seen."""
    report = await call.desks.switches.check_vlan(call.mac)
    if (check := report.check) is None:
        return VlanCheck(mac=call.mac, verdict=None, why=report.found.words, cure="", offered=0, used=0, seen=[])
    return VlanCheck(
        mac=call.mac, verdict=check.verdict, why=check.why, cure=check.cure, offered=check.offered, used=check.used,
        seen=list(check.seen),
    )  # fmt: skip
