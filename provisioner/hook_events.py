"""What is told outside by which name: the kinds of events inside, as types that other systems know. Pure.

A type never changes its meaning. An event is about one subject, and its version is higher than that of each earlier
event of the same subject: whoever hears them out of order keeps the highest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from provisioner.errors import Invalid

PING: Final = "ping"
OUTWARD: Final[Mapping[str, str]] = MappingProxyType(
    {
        "account_added": "account.created",
        "account_removed": "account.removed",
        "account_renamed": "account.changed",
        "site_added": "site.created",
        "site_changed": "site.changed",
        "site_removed": "site.removed",
        "emergency_changed": "emergency.changed",
        "emergency_missing": "emergency.location_missing",
        "user_added": "person.created",
        "email_set": "person.changed",
        "user_changed": "person.changed",
        "user_left": "person.left",
        "user_removed": "person.removed",
        "extension_added": "extension.created",
        "extension_changed": "extension.changed",
        "secret_changed": "extension.changed",
        "secret_rotated": "extension.secret_rotated",
        "extension_removed": "extension.removed",
        "number_added": "number.available",
        "number_assigned": "number.assigned",
        "number_unassigned": "number.released",
        "number_removed": "number.removed",
        "number_ported": "port.number_completed",
        "license_assigned": "license.assigned",
        "license_unassigned": "license.released",
        "license_suspended": "license.suspended",
        "license_resumed": "license.resumed",
        "device_added": "device.expected",
        "device_moved": "device.changed",
        "model_set": "device.changed",
        "device_revoked": "device.revoked",
        "device_restored": "device.restored",
        "device_removed": "device.removed",
        "device_swapped": "device.swapped",
        "wipe_asked": "device.wipe_asked",
        "wipe_fetched": "device.wiped",
        "unknown_device": "device.seen_first",
        "not_identified": "device.refused",
        "pin_mismatch": "device.refused",
        "registration_seen": "device.online",
        "device_back": "device.online",
        "device_offline": "device.offline",
        "device_lost": "device.lost",
        "site_dark": "site.offline",
        "site_back": "site.online",
        "resync_stuck": "device.stuck",
        "reboot_loop": "device.looping",
        "certificate_ending": "certificate.ending",
        "power_cut": "device.power_cut",
        "power_restored": "device.power_back",
        "power_failed": "device.power_back",
        "power_restored_by_hand": "device.power_back",
        "power_not_restored": "device.power_lost",
        "line_bound": "binding.created",
        "line_unbound": "binding.ended",
        "code_issued": "activation.code_issued",
        "code_reissued": "activation.code_issued",
        "code_revealed": "activation.code_revealed",
        "code_revoked": "activation.code_revoked",
        "code_expired": "activation.code_expired",
        "code_failed": "activation.code_failed",
        "code_locked": "activation.code_locked",
        "device_activated": "activation.succeeded",
        "layer_set": "config.changed",
        "layer_unset": "config.changed",
        "layer_reverted": "config.changed",
        "config_served": "config.served",
        "rollout_begun": "config.rollout_started",
        "rollout_promoted": "config.rollout_promoted",
        "rollout_halted": "config.rollout_halted",
        "rollout_finished": "config.rollout_finished",
        "rollout_reverted": "config.rollout_reverted",
        "resync_begun": "config.resync_started",
        "resync_stopped": "config.resync_stopped",
        "hook_disabled": "webhook.disabled",
        "hook_orphaned": "webhook.orphaned",
        "hook_source_orphaned": "webhook.source_orphaned",
    }
)
"""Kind inside -> type outside; what stands not here is told to nobody."""
CHANGE: Final = "the change itself, whoever makes it: administrator, hook, import, code"
_EDGE: Final = "the workers, with the batch that puts down what devices did"
_CALL: Final = "an activation code that is keyed in"
_WATCH: Final = "the admin process, which looks through the devices for those not heard of"
_POWER: Final = "the admin process, or the command that takes the power of a phone"
_ROLLOUT: Final = "the change itself, or the admin process that takes it on"
_FROM: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unknown_device": _EDGE,
        "not_identified": _EDGE,
        "pin_mismatch": _EDGE,
        "wipe_fetched": _EDGE,
        "config_served": _EDGE,
        "device_offline": _WATCH,
        "device_lost": _WATCH,
        "device_back": _WATCH,
        "site_dark": _WATCH,
        "site_back": _WATCH,
        "reboot_loop": _WATCH,
        "certificate_ending": "the admin process, which looks at certificates once an hour",
        "registration_seen": "another system's post (`registration.seen`), at most once a day and phone",
        "resync_stuck": "whoever has phones fetch, when the time for it is over",
        "code_failed": _CALL,
        "code_locked": _CALL,
        "device_activated": _CALL,
        "code_expired": "a worker, when a code's life is over, or whoever has the next one made",
        "power_cut": _POWER,
        "power_restored": _POWER,
        "power_failed": _POWER,
        "power_restored_by_hand": _POWER,
        "power_not_restored": _POWER,
        "rollout_promoted": _ROLLOUT,
        "rollout_halted": _ROLLOUT,
        "rollout_finished": "the admin process that takes a rollout on",
        "hook_disabled": "the change itself, or the sender that has failed for days",
    }
)
TYPES: Final = frozenset(OUTWARD.values())
_WANTED: Final = re.compile(r"\*|[a-z]+\.\*|[a-z]+\.[a-z_]+")
_HIDDEN: Final = frozenset({"partner"})
_SUBJECTS: Final = ("extension", "user", "license", "site", "hook")
"""Details that name what an event without a Mac is about, the nearest first."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event as it leaves this server."""

    version: int
    type: str
    at: float
    subject: str
    account: str
    actor: str
    data: Mapping[str, str]
    stamp: str
    """Makes its id this installation's own, also after a database was put back."""

    @property
    def ident(self) -> str:
        """The same at each attempt and for each receiver: by it they tell what they have already."""
        return f"evt_{self.version}_{self.stamp}"

    def body(self) -> bytes:
        """The document that is signed and sent."""
        document = {
            "id": self.ident,
            "type": self.type,
            "occurred_at": moment(self.at),
            "subject": self.subject,
            "version": self.version,
            "account": self.account or None,
            "actor": self.actor,
            "data": dict(self.data),
        }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def source_of(kind: str) -> str:
    """Where a kind that is told outside comes from, in words."""
    return _FROM.get(kind, CHANGE)


def moment(at: float) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def subject_of(mac: str, account: str, details: Mapping[str, str]) -> str:
    """What an event is about: ``device:0004f2aabbcc``."""
    if mac:
        return f"device:{mac}"
    if details.get("scope"):
        return f"layer:{details['scope']}:{details.get('key', '')}"
    for name in _SUBJECTS:
        if details.get(name):
            return f"{name}:{details[name]}"
    return f"account:{account}" if account else "server"


def data_of(mac: str, details: Mapping[str, str]) -> dict[str, str]:
    """What is said of it; events hold no secrets."""
    told = {name: value for name, value in details.items() if name not in _HIDDEN}
    return {"mac": mac, **told} if mac else told


def wants(filters: str, kind: str) -> bool:
    """Whether an endpoint with these filters (blanks between them) hears of a type."""
    return any(_matches(one, kind) for one in filters.split())


def _matches(one: str, kind: str) -> bool:
    return one in {"*", kind} or (one.endswith(".*") and kind.startswith(one[:-1]))


def checked(filters: list[str]) -> str:
    """Filters as they are kept; Invalid names the one that would never hear of anything."""
    wanted = sorted({one.strip() for one in filters if one.strip()}) or ["*"]
    for one in wanted:
        if not _WANTED.fullmatch(one) or not any(_matches(one, kind) for kind in TYPES):
            raise Invalid("events", f"{one!r} is no type of event; they are *, {', '.join(sorted(TYPES))}, or device.*")
    return " ".join(wanted)
