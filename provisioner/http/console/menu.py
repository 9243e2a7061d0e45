"""What the menu of the console has, in its order; each entry is shown to whoever may see its page."""

from __future__ import annotations

from typing import NamedTuple

from provisioner.rights import Right


class Entry(NamedTuple):
    """One line of the menu."""

    path: str
    label: str
    right: Right
    group: str = ""


_ENTRIES = (
    Entry("/", "Overview", Right.DEVICE_READ),
    Entry("/devices", "Devices", Right.DEVICE_READ),
    Entry("/users", "Users", Right.PEOPLE_READ),
    Entry("/extensions", "Extensions", Right.PEOPLE_READ),
    Entry("/codes", "Activation codes", Right.CODE_READ),
    Entry("/accounts", "Accounts and sites", Right.ACCOUNT_READ),
    Entry("/layers", "Settings of phones", Right.LAYER_READ, "Configuration"),
    Entry("/models", "Models", Right.MODEL_READ, "Configuration"),
    Entry("/events", "Events", Right.EVENT_READ, "Records"),
    Entry("/audit", "Audit log", Right.AUDIT_READ, "Records"),
    Entry("/server", "Server settings", Right.SERVER_READ, "Server"),
)


def entries() -> tuple[Entry, ...]:
    """All of it."""
    return _ENTRIES
