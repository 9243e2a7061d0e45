"""How long it takes to find a phone on one 48-port switch."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cabinet import HP, PHONE, Cabinet
from snmp_lab import simulated

from provisioner.model import Mac
from provisioner.switches.credentials import Community
from provisioner.switches.switches import Switches


@pytest.mark.slow  # measured where nothing else is done
@pytest.mark.asyncio
async def test_a_48_port_switch_is_asked_within_a_second(desk: Switches, tmp_path: Path) -> None:
    with simulated(tmp_path, {"public": Cabinet(maker=HP).rows()}) as port:
        await desk.add_switch("sw1", account="Acme", address="127.0.0.1", port=port, read=Community("public"))
        await desk.interface_named("sw1", "Gi1/0/1")  # the engine is loaded
        began = time.process_time(), time.monotonic()
        told = await desk.find_port(Mac(PHONE))
        ours, lasted = time.process_time() - began[0], time.monotonic() - began[1]
    assert told.port is not None
    assert lasted < 1.0, (lasted, ours)
