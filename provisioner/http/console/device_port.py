"""Where a phone is plugged in, as switches say at this moment; its voice VLAN, and taking its power."""

from __future__ import annotations

from provisioner.cycle_states import CYCLE_WORDS, ENDS
from provisioner.http.console.device import about
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.rights import Right
from provisioner.switches import vlans
from provisioner.switches.objections import warnings
from provisioner.switches.oids import dotted

port = Pages()


@port.get("/devices/{mac}/switch-port", Right.SWITCH_READ)
async def show_port(call: Call) -> Answer:
    """Ask the switches of its site."""
    values = await about(call)
    found = await call.desks.switches.find_port(call.mac)
    cycles = await call.desks.switches.cycles(mac=call.mac, limit=5)
    values |= {
        "tab": "", "found": found, "port": found.port, "cycles": cycles, "words": CYCLE_WORDS,
        "under_way": any(one.state not in ENDS for one in cycles),
    }  # fmt: skip
    if found.port is not None:
        values |= {"check": vlans.check(found.port), "warnings": warnings(found.port)}
        values["seen"] = dotted(found.port.seen)
    return View("device_port.html.j2", values)


@port.post("/devices/{mac}/power-cycle", Right.POWER_CYCLE, again=show_port)
async def take_power(call: Call) -> Answer:
    """For a minute; the server looks first whether it may, and brings it back."""
    await call.desks.switches.power_cycle(call.mac)
    return See(f"/devices/{call.mac}/switch-port", "Its power is taken for a minute, if nothing is in the way.")
