"""The journal of storms, on both databases: what a node has told, and which of its storms has no end yet."""

from __future__ import annotations

import pytest

from provisioner.fleet.fleet import Fleet
from provisioner.model import Event
from provisioner.store.database import Store
from provisioner.store.storms import StormJournal


def of(node: str, kind: str, at: float) -> Event:
    return Event(kind, at, severity="warning", actor="server", details={"node": node})


@pytest.mark.asyncio
async def test_the_journal_knows_which_storm_has_no_end_yet(store: Store, fleet: Fleet) -> None:
    one, other = StormJournal(store.engine, "one"), StormJournal(store.engine, "other")
    assert await one.begun() == 0.0
    await one.write(of("one", "storm_began", 10.0))
    assert (await one.begun(), await other.begun()) == (10.0, 0.0)
    await other.write(of("other", "storm_began", 11.0))
    await one.write(of("one", "storm_ended", 20.0))
    assert (await one.begun(), await other.begun()) == (0.0, 11.0)
    await one.write(of("one", "storm_began", 30.0))
    assert await one.begun() == 30.0
    assert [(row.kind, row.details["node"], row.at, row.severity) for row in await fleet.events()] == [
        ("storm_began", "one", 10.0, "warning"),
        ("storm_began", "other", 11.0, "warning"),
        ("storm_ended", "one", 20.0, "warning"),
        ("storm_began", "one", 30.0, "warning"),
    ]
