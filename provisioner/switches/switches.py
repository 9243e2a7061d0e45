"""Use-cases of the administrator: switches, where a phone is plugged in, its voice VLAN, and its power."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.cycle_states import CYCLE_WORDS, CycleState, CycleStep
from provisioner.desk import SettingsDesk, account_id, account_of, device_of, site_of, text_of
from provisioner.errors import Conflict, Invalid, NotFound
from provisioner.model import Mac
from provisioner.networks import listed, parse_source
from provisioner.store import people
from provisioner.store import power_cycles as cycles
from provisioner.store import switches as rows
from provisioner.store.database import Change
from provisioner.store.power_cycles import PowerCycle, Wish
from provisioner.store.switches import Switch
from provisioner.switches import oids, vlans
from provisioner.switches.agent import AgentFailed
from provisioner.switches.check import Finding, examine
from provisioner.switches.credentials import Community, Credential, sealed_form
from provisioner.switches.doors import StoreDoors
from provisioner.switches.engine import reached, shared
from provisioner.switches.fence import fence_of
from provisioner.switches.oids import column, text_in
from provisioner.switches.ports import Rule, poe_index, read_map, written_map
from provisioner.switches.search import Found, search
from provisioner.switches.vlans import VlanCheck

_ADDRESS: Final = re.compile(r"[A-Za-z0-9_.:-]{1,253}")
_NUMBERS: Final = re.compile(r"[0-9.]+|.*:.*")
_PORT: Final = range(1, 65536)
SHORTEST: Final = 3.0
"""s: a phone forgets nothing in less."""
LONGEST: Final = 600.0
USUAL: Final = cycles.MINUTE
_BEGIN: Final = 30.0
"""s in which whoever has asked begins by itself."""
_MOST: Final = 4096
_WHERE: Final = frozenset({"address", "port"})
"""Of another switch power does not come back."""
_LATE: Final = 60.0
"""s after its end at which nobody is bringing power back any more, it seems."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What came of a test of a switch."""

    switch: str
    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        """Nothing to mend."""
        return all(one.good for one in self.findings)


@dataclass(frozen=True, slots=True)
class VlanReport:
    """Where a phone is, and what became of its voice VLAN."""

    found: Found
    check: VlanCheck | None
    """None where no switch has seen it."""


class Switches(SettingsDesk):
    """Switches of accounts."""

    # --- which there are ------------------------------------------------------------------------------------

    async def add_switch(
        self,
        name: str,
        *,
        account: str,
        address: str,
        read: Credential,
        site: str = "",
        port: int = 161,
        write: Credential | None = None,
        rule: Rule = Rule.AUTO,
    ) -> Switch:
        """A switch of an account, at one of its sites or (empty) of all of them; ``write`` may change the power."""
        host, number = address_of(address, port)
        _require_apart(read, write)
        async with self._change() as change:
            owner = await account_of(change.connection, account)
            place = (await site_of(change.connection, site, owner.id)).id if site else ""
            self._require_outside(host)
            name = await _free_name(change, text_of("name", name), owner.id)
            made = Switch(
                people.new_id(), owner.id, place, name, host, number, rule.value, "{}", write is not None, change.at
            )
            await rows.insert_switch(change.connection, made, *self._sealed(made.id, read, write))
            _note(change, made, "switch_added", address=f"{host}:{number}", read=read.words)
        return made

    async def switches(self, *, account: str = "", after: tuple[str, str] = ("", ""), limit: int = 0) -> list[Switch]:
        """By name; ``after``: name and id of the last one of the page before."""
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            return await rows.list_switches(connection, owner, after=after, limit=limit)

    async def switch(self, switch: str) -> Switch:
        """One, by id or name."""
        async with self._store.reading() as connection:
            return await _one(connection, switch)

    async def change_switch(
        self,
        switch: str,
        *,
        name: str | None = None,
        address: str | None = None,
        port: int | None = None,
        read: Credential | None = None,
        write: Credential | None = None,
        rule: Rule | None = None,
        forget_write: bool = False,
    ) -> Switch:
        """What is given is different from now on; ``forget_write``: nothing may be changed there any more.

        While one of its ports is off its place stays, and so does that something may be changed there, or it is a
        Conflict; what opens it may be corrected, as power comes back by that.
        """
        if forget_write and write is not None:
            raise Invalid("write", "cannot be given and forgotten at once")
        async with self._change() as change:
            found = await _one(change.connection, switch)
            values: dict[str, object] = {}
            if name is not None:
                values["name"] = await _free_name(change, text_of("name", name), found.account, but=found.id)
            if address is not None or port is not None:
                host, number = address_of(address or found.address, port or found.port)
                self._require_outside(host)
                values |= {"address": host, "port": number}
            values |= {} if rule is None else {"rule": rule.value}
            values |= self._keys(found.id, read, write, forget=forget_write)
            if values.keys() & _WHERE or forget_write:
                await _refuse_busy(change, found)
            if not values:
                raise Invalid("switch", "say at least one of name, address, port, rule, or a credential")
            await rows.write_switch(change.connection, found.id, values)
            _note(change, found, "switch_changed", changed=", ".join(sorted(values)))
        return await self.switch(found.id)

    async def remove_switch(self, switch: str) -> Switch:
        """Forget it, with what opens it; Conflict while one of its ports is off."""
        async with self._change() as change:
            found = await _one(change.connection, switch)
            await _refuse_busy(change, found)
            await rows.delete_switch(change.connection, found.id)
            _note(change, found, "switch_removed")
        return found

    async def confirm_port(self, switch: str, interface: int, poe: str) -> Switch:
        """An administrator has looked: this interface (ifIndex) has this PoE port (group.port; empty: not known)."""
        if interface < 1:
            raise Invalid("interface", "must be the port's name, or its ifIndex: 1 or more")
        async with self._change() as change:
            found = await _one(change.connection, switch)
            known = read_map(found.ports)
            if poe:
                index = poe_index(poe)
                if (taken := [one for one, port in known.items() if port == index and one != interface]) != []:
                    raise Conflict(f"PoE port {poe} of {found.name} is confirmed for interface {taken[0]} already")
                known[interface] = index
            elif known.pop(interface, None) is None:
                raise NotFound(f"no PoE port is confirmed for interface {interface} of {found.name}")
            await rows.write_switch(change.connection, found.id, {"ports": written_map(known)})
            _note(change, found, "switch_port_confirmed", interface=str(interface), poe=poe or "none")
        return await self.switch(found.id)

    # --- what they say --------------------------------------------------------------------------------------

    async def test_switch(self, switch: str) -> Tested:
        """Which of address, community, user, auth and privacy is wrong; nothing is changed at the switch."""
        found = await self.switch(switch)
        doors = StoreDoors(self._store, self._settings)
        read, write = await doors.credentials(found)
        engine, where = await shared(), doors.where(found)
        engine.forget(where)
        try:
            answered = await reached(where, doors.pace)
        except AgentFailed as error:
            return Tested(found.name, (Finding("address", False, error.part, error.cause),))
        async with self._store.reading() as connection:
            busy = await cycles.open_of(connection, switch=found.id)
        write = None if busy else write  # what is there now is off, and is not to be written once more
        told = await examine(engine, where, answered, read, write, doors.pace)
        if busy:
            told.append(Finding("changing", True, "", f"not tried: power cycle {busy.id} has not ended"))
        return Tested(found.name, tuple(told))

    async def interface_named(self, switch: str, name: str) -> int:
        """The ifIndex of a port by its name, asked of the switch; a number that is no port's name is the ifIndex."""
        found = await self.switch(switch)
        agent = await StoreDoors(self._store, self._settings).reader(found)
        wanted, there = name.strip().lower(), set[int]()
        for root in (oids.IF_NAME, oids.IF_DESCR):
            table = column((await agent.walk(root, _MOST)).rows, root)
            there |= {index[0] for index in table}
            if matches := [index[0] for index, said in table.items() if text_in(said).lower() == wanted]:
                return _one_port(found.name, wanted, matches)
        if wanted.isascii() and wanted.isdigit() and int(wanted) in there:
            return int(wanted)
        raise NotFound(f"switch {found.name} has no port {name!r}")

    async def find_port(self, mac: Mac) -> Found:
        """The port a phone is plugged into, as the switches of its site say."""
        async with self._store.reading() as connection:
            await device_of(connection, mac)
            known = await rows.switches_for(connection, mac)
        doors = StoreDoors(self._store, self._settings)
        await doors.fetch(known)
        return await search(mac, known, doors, self._settings.switch_parallel)

    async def check_vlan(self, mac: Mac) -> VlanReport:
        """The voice VLAN that is offered, the one that is used, and where the Mac is seen: one verdict."""
        found = await self.find_port(mac)
        return VlanReport(found, None if found.port is None else vlans.check(found.port))

    # --- power ----------------------------------------------------------------------------------------------

    async def power_cycle(self, mac: Mac, *, seconds: float = USUAL, owner: str = "") -> PowerCycle:
        """Ask for a phone's port to be off for so long; the server does it, or ``owner`` who has asked."""
        if not SHORTEST <= seconds <= LONGEST:
            raise Invalid("seconds", f"must be {SHORTEST:g} to {LONGEST:g}")
        async with self._change() as change:
            device = await device_of(change.connection, mac)
            if not await rows.switches_for(change.connection, mac):
                raise Conflict(f"no switch is known where {mac.colons} may be: add the one that it is plugged into")
            if (busy := await cycles.open_of(change.connection, mac=mac)) is not None:
                raise Conflict(f"power cycle {busy.id} of {mac.colons} has not ended")
            lease = change.at + _BEGIN if owner else 0.0
            wish = Wish(mac, device.account, seconds, change.actor, change.at, owner=owner, lease=lease)
            ident = await cycles.ask(change.connection, wish)
            change.audit("power_asked", mac=mac, account=device.account, cycle=str(ident), seconds=f"{seconds:g}")
        return await self.cycle(ident)

    async def cycle(self, ident: int) -> PowerCycle:
        """How far one is."""
        async with self._store.reading() as connection:
            found = await cycles.find(connection, ident)
        if found is None:
            raise NotFound(f"there is no power cycle {ident}")
        return found

    async def restored_by_hand(self, ident: int) -> PowerCycle:
        """Somebody has switched the port on at the switch, which cannot be asked: nobody tries any more.

        Conflict where nothing was switched off, and while whoever has switched it off is still to switch it on.
        """
        async with self._change() as change:
            found = await cycles.find(change.connection, ident)
            if found is None:
                raise NotFound(f"there is no power cycle {ident}")
            late = found.off_at is not None and change.at > found.off_at + found.seconds + _LATE
            values = {"ended": change.at, "lease": 0.0, "result": "somebody has switched the port on by hand"}
            tried = late or found.state is CycleState.RESTORING
            if not tried or not await cycles.move(change.connection, ident, CycleStep.SEEN, "", values):
                raise Conflict(f"power cycle {ident} waits for nobody: {CYCLE_WORDS[found.state]}")
            told = {"account": found.account, "cycle": str(ident), "port": found.port, "switch": found.switch}
            change.audit("power_restored_by_hand", mac=found.mac, severity="warning", **told)
        return await self.cycle(ident)

    async def cycles(
        self, *, mac: Mac | None = None, switch: str = "", before: int = 0, limit: int = 100
    ) -> list[PowerCycle]:
        """The newest first."""
        async with self._store.reading() as connection:
            ident = (await _one(connection, switch)).id if switch else ""
            return await cycles.listed(connection, mac=mac or "", switch=ident, before=before, limit=limit)

    async def allow_power(self, site: str, *, allowed: bool) -> bool:
        """Whether phones of a site that a resync does not reach may be switched off for a minute by themselves."""
        async with self._change() as change:
            found = await site_of(change.connection, site)
            if allowed != await cycles.allowed(change.connection, found.id):
                if allowed:
                    await cycles.allow(change.connection, found.id, found.account, change.actor, change.at)
                else:
                    await cycles.disallow(change.connection, found.id)
                told = "allowed" if allowed else "not allowed"
                change.audit("power_policy_set", account=found.account, site=found.id, severity="warning", power=told)
        return allowed

    async def power_allowed(self, site: str) -> bool:
        """Whether that is so at a site; it is not, unless somebody has said it."""
        async with self._store.reading() as connection:
            return await cycles.allowed(connection, (await site_of(connection, site)).id)

    # --- parts ----------------------------------------------------------------------------------------------

    def _require_outside(self, host: str) -> None:
        """No switch is this server itself. Whoever administers one account does not make it ask its neighbours either.

        A name changes its mind: what it means is judged whenever it is asked.
        """
        if self._principal.reach.accounts is not None and not listed(host, self._settings.switch_networks):
            raise Invalid(
                "address", "must be an IP address in a network that the operator has listed in switch.networks"
            )
        if parse_source(host) is not None and (why := fence_of(self._settings).refusal(host)):
            raise Invalid("address", f"{why}; the operator may list its network in switch.allow")

    def _sealed(self, ident: str, read: Credential, write: Credential | None) -> tuple[bytes, bytes | None]:
        box = self._store.box
        return (
            rows.seal(box, sealed_form(read), ident, "read"),
            None if write is None else rows.seal(box, sealed_form(write), ident, "write"),
        )

    def _keys(
        self, ident: str, read: Credential | None, write: Credential | None, *, forget: bool
    ) -> dict[str, object]:
        _require_apart(read, write)
        values: dict[str, object] = {"write": None} if forget else {}
        if read is not None:
            values["read"] = rows.seal(self._store.box, sealed_form(read), ident, "read")
        if write is not None:
            values["write"] = rows.seal(self._store.box, sealed_form(write), ident, "write")
        return values


def address_of(address: str, port: int) -> tuple[str, int]:
    """Host and port; Invalid for what is none."""
    if not _ADDRESS.fullmatch(address):
        raise Invalid("address", "must be a host name, or an IPv4 or IPv6 address without brackets")
    if _NUMBERS.fullmatch(address) and parse_source(address) is None:
        raise Invalid("address", f"{address} looks like an IP address and is none")
    if port not in _PORT:
        raise Invalid("port", "must be 1 to 65535")
    return address, port


def _require_apart(read: Credential | None, write: Credential | None) -> None:
    if isinstance(read, Community) and read == write:
        raise Invalid("write", "is the community that reads: give the switch one of its own that may change something")


async def _free_name(change: Change, name: str, account: str, *, but: str = "") -> str:
    taken = [one for one in await rows.find_switches(change.connection, name, account) if one.id != but]
    if any(one.name == name for one in taken):
        raise Conflict(f"the account has a switch {name!r} already")
    return name


def _one_port(switch: str, name: str, matches: Sequence[int]) -> int:
    """What is called 7 is seldom interface 7, and the wrong one is a colleague's phone."""
    if len(matches) > 1:
        several = ", ".join(map(str, matches[:8]))
        raise Conflict(f"{len(matches)} ports of {switch} are called {name}; name one by its ifIndex: {several}")
    if name.isascii() and name.isdigit() and int(name) != matches[0]:
        raise Conflict(
            f"port {name} of {switch} is interface {matches[0]}, not {name}; say by the ifIndex which is meant"
        )
    return matches[0]


async def _one(connection: AsyncConnection, ref: str) -> Switch:
    found = await rows.find_switches(connection, ref)
    found = [one for one in found if one.id == ref] or found
    if not found:
        raise NotFound(f"there is no switch {ref!r}")
    if len(found) > 1:
        listed = ", ".join(one.id for one in found)
        raise Conflict(f"{ref!r} may mean {len(found)} switches: give the id, one of {listed}")
    return found[0]


async def _refuse_busy(change: Change, one: Switch) -> None:
    if (busy := await cycles.open_of(change.connection, switch=one.id)) is not None:
        raise Conflict(
            f"port {busy.port} of {one.name} is off at this moment: wait for power cycle {busy.id}; what opens the "
            "switch may be corrected meanwhile"
        )


def _note(change: Change, one: Switch, kind: str, **details: str) -> None:
    change.audit(kind, severity="warning", switch=one.id, name=one.name, account=one.account, **details)
