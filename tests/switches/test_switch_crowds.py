"""A phone that many switches have learned: those on its way are asked for no more than shows that they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from cabinet import HP, PHONE, Cabinet
from snmp_lab import simulated

from provisioner.model import Mac
from provisioner.switches.credentials import Community
from provisioner.switches.engine import SnmpAgent
from provisioner.switches.switches import Switches

MAC = Mac(PHONE)


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where it is plugged in, and switches that see it behind their uplinks."""
    way = {f"way{number}": Cabinet(f"way{number}", port=48, others=()).rows() for number in range(3)}
    with simulated(tmp_path_factory.mktemp("agents"), {"desk": Cabinet(maker=HP).rows(), **way}) as port:
        yield port


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Questions, by community."""
    found: Counter[str] = Counter()
    ask = SnmpAgent._ask

    async def counted(self: SnmpAgent, *words: Any) -> Any:
        assert isinstance(self._credential, Community)
        found[self._credential.community] += 1
        return await ask(self, *words)

    monkeypatch.setattr(SnmpAgent, "_ask", counted)
    return found


async def known(desk: Switches, port: int, *names: str) -> None:
    for name in names:
        where = {"account": "Acme", "site": "HQ", "address": "127.0.0.1", "port": port}
        await desk.add_switch(name, read=Community(name), **where)  # type: ignore[arg-type]  # each has its own


@pytest.mark.slow  # agents of their own
@pytest.mark.asyncio
async def test_those_on_the_way_are_asked_little(desk: Switches, agents: int, asked: Counter[str]) -> None:
    await known(desk, agents, "desk", "way0", "way1", "way2")
    told = await desk.find_port(MAC)
    assert told.port is not None and (told.port.switch, told.port.name) == ("desk", "Gi1/0/7")
    assert [f"{one.switch} {one.name}" for one in told.on_the_way] == [f"way{n} Gi1/0/48" for n in range(3)]
    assert all(one.uplink for one in told.on_the_way)
    assert told.port.poe is not None and told.port.offered and told.port.neighbour, "and of its own everything is known"
    assert all(asked[f"way{number}"] <= 7 for number in range(3)), asked
    assert asked["desk"] > 12


@pytest.mark.slow  # as above
@pytest.mark.asyncio
async def test_where_all_are_on_the_way_all_are_looked_at_whole(
    desk: Switches, agents: int, asked: Counter[str]
) -> None:
    await known(desk, agents, "way0", "way1")
    told = await desk.find_port(MAC)
    assert told.port is not None and told.port.uplink
    assert told.port.offered and told.port.tagged, "it was asked for its VLANs"
    assert len(told.on_the_way) == 1 and told.on_the_way[0].tagged
    assert min(asked[name] for name in ("way0", "way1")) > 12
