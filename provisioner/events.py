"""Refusals become events: full of reasons, free of secrets, the same one at most once a minute."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from provisioner.errors import PinMismatch, ProvisionerError, Revoked
from provisioner.model import Event, Peer, Verdict

_WINDOW: Final = 60.0
"""s: a phone that retries every few seconds must not fill the log."""
_REMEMBERED: Final = 4096
"""Different refusals kept in mind a worker; beyond it the oldest may be told again."""
_PRINTABLE: Final = re.compile(r"[^ -~]")
_TOKEN: Final = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{22,}|(?<=/t/)[^/]+")
"""Whatever may be a token, wherever a stranger puts it: 128 bits are 22 characters (RFC 4648 section 5)."""
_LONGEST: Final = 300


class EventLog:
    """Turns errors at the device edge into events and keeps repeats away from the store."""

    def __init__(self, sink: Callable[[Event], None]) -> None:
        self._sink = sink
        self._told: OrderedDict[tuple[str, ...], tuple[float, int]] = OrderedDict()

    def refused(self, error: ProvisionerError, peer: Peer, path: str, user_agent: str, now: float) -> bool:
        """Tell of one refused or failed request, unless its like was told within the last minute; whether it was.

        Alike are refusals of one kind and verdict from one device, or from one address where no device is proven: a
        stranger who tries a thousand names is one event a minute.
        """
        mac = peer.identity.mac or ""
        key = peer.identity.spki if isinstance(error, PinMismatch) else ""
        repeats = self._repeats((error.kind, peer.identity.verdict, mac or peer.address, key), now)
        if repeats is None:
            return False
        details = dict(_details(error, peer, path, user_agent))
        if repeats:
            details["repeated"] = str(repeats)
        self._sink(Event(error.kind, now, mac=mac, severity=_severity(error), actor="device", details=details))
        return True

    def tell(self, event: Event) -> None:
        """Pass on what happened as it is, printable."""
        self._sink(replace(event, details={key: printable(value) for key, value in event.details.items()}))

    def _repeats(self, key: tuple[str, ...], now: float) -> int | None:
        """How often it was held back since it was last told, or None to hold it back now."""
        at, held = self._told.pop(key, (None, 0))
        if at is not None and 0 <= now - at < _WINDOW:
            self._told[key] = (at, held + 1)
            return None
        self._told[key] = (now, 0)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return held


def _severity(error: ProvisionerError) -> str:
    if isinstance(error, PinMismatch):
        return "alarm"
    return "info" if error.status == 404 and error.kind in {"no_such_file", "bad_path"} else "warning"


def _details(error: ProvisionerError, peer: Peer, path: str, user_agent: str) -> Mapping[str, str]:
    identity, tls = peer.identity, peer.tls
    given = {
        "reason": error.cause,
        "path": masked(path),
        "user_agent": user_agent,
        "address": peer.address,
        "listener": peer.listener,
        "verdict": Verdict.REVOKED if isinstance(error, Revoked) else identity.verdict,
        "verdict_why": identity.why,
        "vendor": identity.vendor,
        "subject": identity.subject,
        "issuer": identity.issuer,
        "not_before": identity.not_before,
        "not_after": identity.not_after,
        "tls": tls.version,
        "cipher": tls.cipher,
        "sni": tls.sni,
    }
    if isinstance(error, PinMismatch):
        given |= {"came": error.came, "pinned": error.pinned}
    return {key: printable(str(value)) for key, value in given.items() if value}


def printable(text: str) -> str:
    """ASCII that cannot forge a log line or a terminal sequence, bounded."""
    return _PRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", text[:_LONGEST])


def masked(path: str) -> str:
    """A path without the token it may hold."""
    return _TOKEN.sub("***", path[:_LONGEST])
