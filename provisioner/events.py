"""Refusals become events: full of reasons, free of secrets, the same one at most once a minute."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from provisioner.errors import Invalid, PinMismatch, ProvisionerError, Refused, RenderFailed, Revoked, StoreFailed
from provisioner.model import Event, Peer, Verdict

_WINDOW: Final = 60.0
"""s: a phone that retries every few seconds must not fill the log."""
_REMEMBERED: Final = 4096
"""Different refusals kept in mind a worker; beyond it the oldest may be told again."""
_PRINTABLE: Final = re.compile(r"[^ -~]")
_TOKEN: Final = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{22,}|(?<=/t/)[^/]+")
"""Whatever may be a token, wherever a stranger puts it: 128 bits are 22 characters (RFC 4648 section 5)."""
_LONGEST: Final = 300

_TOLD: Final[Mapping[str, str]] = {
    "access_changed": "a device may use tokens, Digest or an expired certificate, or may no longer",
    "account_added": "an account was added",
    "account_removed": "an account was removed",
    "account_renamed": "an account has another name",
    "activation_offered": "a device without a line was told how to ask its user for an activation code",
    "code_budget_spent": "so many wrong activation codes came from somewhere that the next has to wait",
    "code_expired": "nobody used an activation code within its life",
    "code_failed": "an activation code was keyed in and not accepted",
    "code_forgiven": "a device that was locked out may try activation codes again",
    "code_issued": "an activation code was made",
    "code_locked": "an activation code was keyed in too often on phones that it is not for",
    "code_mistyped": "an activation code was keyed in with a wrong digit; it counts for nothing",
    "code_of_another_account": "a phone of one account keyed in the activation code of another",
    "code_put_off": "an activation code was not looked at: too many wrong ones came before it",
    "code_reissued": "an activation code was replaced by another",
    "code_repeated": "a phone keyed in the activation code again that it had used",
    "code_revealed": "an activation code was read",
    "code_revoked": "an activation code was taken back",
    "code_unsupported": "a phone called the activation prompts whose model is activated by its MAC",
    "device_activated": "a phone got its extension by an activation code",
    "device_added": "a device was added",
    "device_moved": "a device belongs to another account or site",
    "device_removed": "a device was removed",
    "device_restored": "a revocation was taken back",
    "device_revoked": "a device is served nothing any more",
    "digest_set": "a device has a new Digest password",
    "extension_added": "an extension was added",
    "extension_removed": "an extension was removed",
    "ivr_prompt": "a caller to the activation prompts was told something, and why",
    "key_rotated": "everything is sealed with the new master key and the old one is gone",
    "key_rotation_begun": "a new master key was made",
    "key_rotation_resumed": "an unfinished rotation was gone on with",
    "layer_set": "settings of a layer were set",
    "layer_unset": "settings of a layer were taken away",
    "line_bound": "an extension was bound to a line of a device",
    "line_unbound": "a line of a device was freed",
    "model_set": "a device's model was corrected",
    "pin_accepted": "a key that came with an alarm was pinned",
    "pin_forgotten": "a pinned key was forgotten",
    "pin_mismatch": "a certificate whose key is not the pinned one",
    "pin_set": "the first key of a device was pinned",
    "resync_begun": "devices are to be told to fetch again: how many, in how many waves, until when",
    "resync_stopped": "devices that were waiting to be told to fetch again are not told any more",
    "resync_stuck": "a device was told to fetch again, or should have asked by itself, and has not come",
    "resync_told": "a device was told to fetch again: by which way, and what came of it",
    "secret_changed": "an extension has another SIP password",
    "secret_revealed": "an extension's SIP password was read",
    "secrets_revealed": "the secrets in a device's files were read",
    "site_added": "a site was added",
    "site_removed": "a site was removed",
    "storm_began": "a worker of this node went into storm mode, and none was before: known phones wait too long",
    "storm_ended": "the last worker of this node is calm again: how long it lasted, the worst wait, who is back",
    "storm_shaped": "the values of a storm plan were set in the vendors' layers, or taken back",
    "token_opened": "a token URL was opened",
    "tokens_revoked": "token URLs were closed",
    "user_added": "a user was added",
    "user_removed": "a user was removed",
}
"""What is told by name; refusals are told by the kind of their error."""


def _refusals() -> Iterator[tuple[str, str]]:
    kinds: tuple[type[ProvisionerError], ...] = (*Refused.__subclasses__(), RenderFailed, StoreFailed, ProvisionerError)
    for error in kinds:
        said = "a fault of the program" if error is ProvisionerError else (error.__doc__ or "").splitlines()[0]
        yield error.kind, said


KINDS: Final[Mapping[str, str]] = dict(sorted({**dict(_refusals()), **_TOLD}.items()))
"""Every kind of event and what it says."""


def require_kind(kind: str) -> None:
    """Invalid with all the kinds there are, the likeliest first, when it is none of them."""
    if kind in KINDS:
        return
    close = get_close_matches(kind, KINDS, 1)
    meant = f"; did you mean {close[0]}?" if close else "."
    raise Invalid("kind", f"{kind!r} is no kind of event{meant} Kinds: {', '.join(KINDS)}")


class Repeats:
    """What was told within the last minute is held back and counted."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, ...], tuple[float, int]] = OrderedDict()

    def held(self, key: tuple[str, ...], now: float) -> int | None:
        """How often it was held back since it was last told, or None to hold it back now."""
        at, held = self._told.pop(key, (None, 0))
        if at is not None and 0 <= now - at < _WINDOW:
            self._told[key] = (at, held + 1)
            return None
        self._told[key] = (now, 0)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return held


class EventLog:
    """Turns errors at the device edge into events and keeps repeats away from the store."""

    def __init__(self, sink: Callable[[Event], None]) -> None:
        self._sink = sink
        self._repeats = Repeats()

    def refused(self, error: ProvisionerError, peer: Peer, path: str, user_agent: str, now: float) -> bool:
        """Tell of one refused or failed request, unless its like was told within the last minute; whether it was.

        Alike are refusals of one kind and verdict from one device, or from one address where no device is proven: a
        stranger who tries a thousand names is one event a minute.
        """
        mac = peer.identity.mac or ""
        key = peer.identity.spki if isinstance(error, PinMismatch) else ""
        repeats = self._repeats.held((error.kind, peer.identity.verdict, mac or peer.address, key), now)
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
