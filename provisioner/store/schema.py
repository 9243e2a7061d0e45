"""One schema for SQLite and PostgreSQL: plain types only, identity by short text ids, secrets as sealed bytes.

What an administrator says hangs together by foreign keys; what devices cause (fetches, events, seen) does not,
because those rows are written in lossy batches that must not fail over a device removed a moment ago.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    false,
    func,
    text,
    true,
)

from provisioner.store import (
    schema_api,
    schema_cards,
    schema_devices,
    schema_flights,
    schema_hooks,
    schema_keys,
    schema_presence,
    schema_rights,
    schema_rollout,
)
from provisioner.store import schema_people as who
from provisioner.store import schema_switches as snmp

metadata: Final = who.metadata
COUNTER: Final = who.COUNTER
account, site, user, extension = who.account, who.site, who.user, who.extension
policy, license, phone_number = who.policy, who.license, who.phone_number
extension_range, extension_hold = who.extension_range, who.extension_hold
repeat, job, job_row = schema_api.repeat, schema_api.job, schema_api.job_row
hook, hook_clock, hook_event = schema_hooks.hook, schema_hooks.hook_clock, schema_hooks.hook_event
hook_delivery, hook_latest = schema_hooks.hook_delivery, schema_hooks.hook_latest
hook_source, hook_inbox = schema_hooks.hook_source, schema_hooks.hook_inbox
administrator, audit_head = schema_rights.administrator, schema_rights.audit_head
leaf, issuers = schema_devices.leaf, schema_devices.issuers
absence, watch = schema_presence.absence, schema_presence.watch
flight, flight_head, refusal = schema_flights.flight, schema_flights.flight_head, schema_flights.refusal
key_recording, tls_secret = schema_keys.key_recording, schema_keys.tls_secret
profile_window, profile_card = schema_cards.profile_window, schema_cards.profile_card
layer_revision, line_revision = schema_rollout.layer_revision, schema_rollout.line_revision
rollout = schema_rollout.rollout
switch, power_cycle, power_policy, trap_tail = snmp.switch, snmp.power_cycle, snmp.power_policy, snmp.trap_tail

_WIPING: Final = text("wipe_since IS NOT NULL AND wiped_at IS NULL")
_CAME: Final = text("net <> ''")

device = Table(
    "device",
    metadata,
    Column("mac", Text, primary_key=True),
    Column("vendor", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("account", Text, ForeignKey("account.id"), nullable=False, index=True),
    Column("site", Text, ForeignKey("site.id"), index=True),
    Column("revoked", Boolean, nullable=False, server_default=false()),
    Column("firmware", Text, nullable=False, server_default=""),
    Column("seen_modern", Boolean, nullable=False, server_default=false()),
    Column("allow_token", Boolean, nullable=False, server_default=false()),
    Column("allow_digest", Boolean, nullable=False, server_default=false()),
    Column("allow_expired", Boolean, nullable=False, server_default=true()),
    Column("digest_secret", LargeBinary),
    Column("created", Float, nullable=False),
    Column("served", BigInteger),  # NULL until it has fetched a configuration
    Column("changed", BigInteger, nullable=False, server_default="0"),
    Column("served_at", Float),  # when one was sent to it that had all changes of its own, as far as it has
    Column("emptied", Text, nullable=False, server_default=""),  # lines to be forgotten, or * for everything
    Column("wipe_since", Float),  # when it was asked to forget them, where it has been here
    Column("wipe_upto", BigInteger),  # the change that it has forgotten them with
    Column("wiped_at", Float),  # when it got that
    Column("replaced_by", Text, nullable=False, server_default=""),  # its layer is that device's now
    Column("net", Text, nullable=False, server_default=""),  # where it came from last, as networks.ordered has it
    Index("ix_device_kind", "vendor", "model", "firmware", "mac"),
    Index("ix_device_firmware", "firmware", "mac"),
    Index("ix_device_place", "account", "vendor", "model", "firmware", "mac"),
    Index("ix_device_revoked", "mac", sqlite_where=text("revoked = 1"), postgresql_where=text("revoked")),
    Index("ix_device_gone", "account", "mac", sqlite_where=text("revoked = 1"), postgresql_where=text("revoked")),
    Index("ix_device_wiping", "mac", sqlite_where=_WIPING, postgresql_where=_WIPING),
    Index("ix_device_net", "net", "mac", sqlite_where=_CAME, postgresql_where=_CAME),
    sqlite_with_rowid=False,  # one B-tree descent instead of two on the boot path
)

binding = Table(
    "binding",
    metadata,
    Column("mac", Text, ForeignKey("device.mac", ondelete="CASCADE"), nullable=False),
    Column("line", Integer, nullable=False),
    Column("extension", Text, ForeignKey("extension.id", ondelete="CASCADE"), nullable=False),
    Column("label", Text, nullable=False, server_default=""),
    Column("since", Float, nullable=False),
    Column("until", Float),
    Column("actor", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("slot", Integer, nullable=False, server_default="1"),  # which of the phones its extension may have
    PrimaryKeyConstraint("mac", "line", "since"),
    Index("ix_binding_extension", "extension"),
    sqlite_with_rowid=False,  # a device's bindings lie side by side, in the order of its lines
)

_ACTIVE: Final = text("until IS NULL")
Index(
    "uq_binding_active_line",
    binding.c.mac,
    binding.c.line,
    unique=True,
    sqlite_where=_ACTIVE,
    postgresql_where=_ACTIVE,
)
Index(
    "uq_binding_active_extension",
    binding.c.extension,
    binding.c.slot,
    unique=True,
    sqlite_where=_ACTIVE,
    postgresql_where=_ACTIVE,
)
"""An account that lets its extensions have one phone knows slot 1 alone, so the database holds it to that."""
_LABELLED: Final = text("until IS NULL AND label <> ''")
Index("ix_binding_label", binding.c.label, sqlite_where=_LABELLED, postgresql_where=_LABELLED)
Index("ix_device_end", func.substr(device.c.mac, 11), device.c.mac)
"""The last two digits: one of 256 devices, looked at for more of them."""

activation_code = Table(
    "activation_code",
    metadata,
    Column("id", Text, primary_key=True),
    Column("finder", Text, nullable=False, unique=True),
    Column("sealed", LargeBinary),  # its digits, as long as somebody may read or key them in
    Column("account", Text, ForeignKey("account.id"), nullable=False, index=True),
    Column("extension", Text, ForeignKey("extension.id", ondelete="CASCADE"), nullable=False),
    Column("vendor", Text, nullable=False, server_default=""),
    Column("model", Text, nullable=False, server_default=""),
    Column("mac", Text, nullable=False, server_default=""),
    Column("site", Text, ForeignKey("site.id", ondelete="CASCADE")),
    Column("replaces", Boolean, nullable=False, server_default=false()),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("misused", Integer, nullable=False, server_default="0"),
    Column("used_by", Text, nullable=False, server_default=""),
    Column("ended", Float),
    Index("ix_activation_code_state_expires", "state", "expires"),
    Index("ix_activation_code_extension", "extension"),
    Index("ix_activation_code_mac", "mac"),
)
"""``finder`` is ``key id:keyed hash``. A code goes with its site: nobody gets one that is tied to less than before."""

_OPEN: Final = text("state IN ('issued', 'locked')")
Index(
    "uq_activation_code_open_extension",
    activation_code.c.extension,
    unique=True,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)

activation_budget = Table(
    "activation_budget",
    metadata,
    Column("key", Text, primary_key=True),
    Column("turn", Float, nullable=False),
    Column("locked_until", Float, nullable=False),
    Column("locks", Integer, nullable=False),
    Column("told", Float, nullable=False),
    sqlite_with_rowid=False,
)
"""Wrong codes of a device, source, network, account and of all; one row, the total's, is always there."""

resync = Table(
    "resync",
    metadata,
    Column("mac", Text, ForeignKey("device.mac", ondelete="CASCADE"), primary_key=True),
    Column("campaign", Text, nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("way", Text, nullable=False, server_default=""),
    Column("event", Text, nullable=False),
    Column("upto", BigInteger, nullable=False),
    Column("force", Boolean, nullable=False, server_default=false()),
    Column("wave", Integer, nullable=False, server_default="0"),
    Column("asked", Float, nullable=False),
    Column("due", Float, nullable=False),
    Column("since", Float, nullable=False),
    Column("lease", Float, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("result", Text, nullable=False, server_default=""),
    Column("patience", Float, nullable=False, server_default="0"),
    Column("runs", Text, nullable=False, server_default=""),  # auth user/number of lines that it ran when it was asked
    Index("ix_resync_state_due", "state", "due"),
)
"""Devices that shall fetch again, each once: ``upto`` is how new a configuration they need, ``lease`` until when
somebody is telling them; ``force`` tells them even where they have it."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", COUNTER, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("about", Text, nullable=False, server_default=""),
    Column("title", Text, nullable=False, server_default=""),
    Column("payload", LargeBinary),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created", Float, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("until", Float, nullable=False),
    Column("ended", Float),
    Column("last_error", Text, nullable=False, server_default=""),
    Index("ix_outbox_state_next_at", "state", "next_at"),
    Index("ix_outbox_subject_id", "subject", "id"),
    Index("ix_outbox_about_id", "about", "id"),
)
"""What is to be told to others; messages of one ``subject`` leave in the order of their ids. ``version`` is the
revision of the change that a message tells of, ``about`` the row it is about; ``next_at`` is when it is due, or until
when whoever sends it has it."""

layer = Table(
    "layer",
    metadata,
    Column("scope", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("entries", Text, nullable=False, server_default="{}"),
    Column("raw", LargeBinary),
    PrimaryKeyConstraint("scope", "key"),
)

pin = Table(
    "pin",
    metadata,
    Column("mac", Text, ForeignKey("device.mac", ondelete="CASCADE"), primary_key=True),
    Column("spki", Text, nullable=False),
    Column("not_after", Text, nullable=False),
    Column("at", Float, nullable=False),
    sqlite_with_rowid=False,
)

token = Table(
    "token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("finder", Text, nullable=False, unique=True),
    Column("mac", Text, ForeignKey("device.mac", ondelete="CASCADE"), nullable=False, index=True),
    Column("opens", Float, nullable=False),
    Column("closes", Float, nullable=False),
    Column("budget", Integer, nullable=False),
    Column("spent", Integer, nullable=False, server_default="0"),
    Column("revoked", Boolean, nullable=False, server_default=false()),
)

upload = Table(
    "upload",
    metadata,
    Column("mac", Text, ForeignKey("device.mac", ondelete="CASCADE"), nullable=False),
    Column("owner", Text, nullable=False),  # a user's id; empty for nobody's
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("at", Float, nullable=False),
    PrimaryKeyConstraint("mac", "owner", "name"),
)

last_fetch = Table(
    "last_fetch",
    metadata,
    Column("mac", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("status", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("proof", Text, nullable=False),
    Column("listener", Text, nullable=False),
    Column("tls_version", Text, nullable=False),
    Column("firmware", Text, nullable=False),
    PrimaryKeyConstraint("mac", "file"),
    sqlite_with_rowid=False,
)

last_body = Table(
    "last_body",
    metadata,
    Column("mac", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("mac", "file"),
)

event = Table(
    "event",
    metadata,
    Column("id", COUNTER, primary_key=True),
    Column("at", Float, nullable=False),
    Column("kind", Text, nullable=False),
    Column("mac", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("audit", Boolean, nullable=False),
    Column("details", Text, nullable=False),
    Column("named", Text, nullable=False, server_default=""),
    Column("claimed", Text, nullable=False, server_default=""),
    Column("account", Text, nullable=False, server_default=""),
    Column("seq", BigInteger),
    Column("hash", Text),
    Index("ix_event_audit_id", "audit", "id"),
    Index("ix_event_mac_id", "mac", "id"),
    Index("ix_event_kind_id", "kind", "id"),
)
"""``named`` and ``claimed``: of an event of nobody proven, the Mac in the path and another one in the subject.
``account``, ``seq`` and ``hash``: of an audit event, whose account it is about and its place in the chain."""

_CHAINED: Final = text("seq IS NOT NULL")
Index("uq_event_seq", event.c.seq, unique=True, sqlite_where=_CHAINED, postgresql_where=_CHAINED)

for _name in ("named", "claimed"):
    _TOLD = text(f"{_name} <> ''")
    Index(f"ix_event_{_name}_id", event.c[_name], event.c.id, sqlite_where=_TOLD, postgresql_where=_TOLD)

sighting = Table(
    "sighting",
    metadata,
    Column("mac", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("day", Integer, nullable=False),
    PrimaryKeyConstraint("mac", "address"),
    Index("ix_sighting_address", "address"),
    sqlite_with_rowid=False,
)
"""Where a known device has proven itself, and on which day (Unix time / 86,400 s) the last time."""

seen = Table(
    "seen",
    metadata,
    Column("mac", Text, primary_key=True),
    Column("vendor", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False, index=True),
    Column("times", Integer, nullable=False),
)

revision = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)
"""One row, counted up first thing in every administrator's transaction: its lock puts them in one order."""

change = Table(
    "change",
    metadata,
    Column("revision", BigInteger, nullable=False),
    Column("scope", Text, nullable=False),
    Column("key", Text, nullable=False),
    PrimaryKeyConstraint("revision", "scope", "key"),
)

touched = Table(
    "touched",
    metadata,
    Column("scope", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    PrimaryKeyConstraint("scope", "key"),
)
"""The last change of each layer that devices share, kept for ever; a device's own change stands in its row."""
