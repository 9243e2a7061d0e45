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
    Entry("/import", "Import", Right.PEOPLE_WRITE),
    Entry("/accounts", "Accounts and sites", Right.ACCOUNT_READ, "Organisation"),
    Entry("/licenses", "Licenses", Right.LICENSE_READ, "Organisation"),
    Entry("/numbers", "Phone numbers", Right.NUMBER_READ, "Organisation"),
    Entry("/policies", "Policies", Right.POLICY_READ, "Organisation"),
    Entry("/layers", "Settings of phones", Right.LAYER_READ, "Configuration"),
    Entry("/rollouts", "Changes under way", Right.LAYER_READ, "Configuration"),
    Entry("/models", "Models", Right.MODEL_READ, "Configuration"),
    Entry("/webhooks", "Webhooks", Right.HOOK_READ, "Other systems"),
    Entry("/inbound", "Systems that post", Right.HOOK_READ, "Other systems"),
    Entry("/keys", "API keys", Right.APIKEY_WRITE, "Other systems"),
    Entry("/events", "Events", Right.EVENT_READ, "Records"),
    Entry("/jobs", "Jobs", Right.JOB_READ, "Records"),
    Entry("/audit", "Audit log", Right.AUDIT_READ, "Records"),
    Entry("/administrators", "Administrators", Right.ROLE_READ, "Server"),
    Entry("/certificates", "Certificates", Right.SERVER_READ, "Server"),
    Entry("/profile", "What phones can do", Right.PROFILE, "Server"),
    Entry("/server", "Server settings", Right.SERVER_READ, "Server"),
)
"""Entries of a group stand together."""


def entries() -> tuple[Entry, ...]:
    """All of it."""
    return _ENTRIES
