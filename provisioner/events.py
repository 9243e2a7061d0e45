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
_SECRET: Final = re.compile(
    r"(?<=//)(?:[^/?#@:\s]*:\S*|[^/?#\s]*)(?=@)|(?<=\?)\S+|(?<![A-Za-z0-9_-])(?![0-9A-Fa-f]{12}-[a-z]{3,16}(?![A-Za-z0-9_-]))[A-Za-z0-9_-]{22,}|(?<=/t/)[^/]+"
)
"""User and password of a URL, a query, and whatever may be a token: 128 bits are 22 characters (RFC 4648 section 5).
0004f2aabbcc-directory is none."""
_LONGEST: Final = 300

_TOLD: Final[Mapping[str, str]] = {
    "access_changed": "a device may use tokens, Digest or an expired certificate, or may no longer",
    "account_added": "an account was added",
    "account_parent_set": "an account is below another partner's, or below none, from now on",
    "account_removed": "an account was removed",
    "account_renamed": "an account has another name",
    "activation_offered": "a device without a line was told how to ask its user for an activation code",
    "administrator_added": "somebody may sign in to the administration",
    "administrator_removed": "somebody may not sign in to the administration any more",
    "apikey_made": "a key of the API was made",
    "apikey_revoked": "a key of the API was revoked",
    "certificate_ending": "a certificate of this server, a CA or phones' certificates end soon (`diagnosis.expiry`)",
    "code_budget_spent": "so many wrong activation codes came from somewhere that the next has to wait",
    "code_expired": "nobody used an activation code within its life",
    "code_failed": "an activation code was keyed in and not accepted",
    "code_forgiven": "a device that was locked out may try activation codes again",
    "code_issued": "an activation code was made",
    "code_locked": "an activation code was keyed in too often on phones that it is not for",
    "code_mistyped": "an activation code was keyed in with a wrong digit, or too few; it counts for nothing",
    "code_of_another_account": "a phone of one account keyed in the activation code of another",
    "code_put_off": "an activation code was not looked at: too many wrong ones came before it",
    "code_reissued": "an activation code was replaced by another",
    "code_repeated": "a phone keyed in the activation code again that it had used",
    "code_revealed": "an activation code was read",
    "code_revoked": "an activation code was taken back",
    "code_unsupported": "a phone called the activation prompts whose model is activated by its MAC",
    "config_served": "a device was sent a whole and current configuration that is another than it had; while an"
    " endpoint asks for it",
    "device_activated": "a phone got its extension by an activation code",
    "device_added": "a device was added",
    "device_back": "a phone that was told to be offline or lost was seen again",
    "device_lost": "an offline phone was not seen for longer still (`presence.lost`)",
    "device_moved": "a device belongs to another account or site",
    "device_offline": "a phone with a line was not seen for longer than it should have taken to ask"
    " (`presence.offline`)",
    "device_removed": "a device was removed",
    "device_restored": "a revocation was taken back",
    "device_swapped": "a new device took the place of an old one, with its lines and settings",
    "device_revoked": "a device is served nothing any more",
    "digest_set": "a device has a new Digest password",
    "email_set": "a user has another mail address, or none",
    "emergency_changed": "a site or a user has another address, or another place in the building",
    "emergency_missing": "a line is somebody's, and neither its phone's site nor its user has an address to send help"
    " to",
    "extension_added": "an extension was added",
    "extension_held": "a free number was suggested for an extension and is kept for whoever asked",
    "extension_released": "a number that was kept for somebody is kept no longer",
    "extension_changed": "an extension has another name that phones show, another SIP user name, or another user",
    "extension_removed": "an extension was removed",
    "grant_ended": "a right that was granted for a time was taken back before its end",
    "hook_added": "a webhook endpoint is told what happens",
    "hook_answered_for": "somebody answers for a webhook endpoint again, of which nobody did",
    "hook_changed": "a webhook endpoint has another address, name or choice of events",
    "hook_disabled": "a webhook endpoint is not called any more: somebody said so, it is gone, or it failed for days",
    "hook_enabled": "a webhook endpoint is called again",
    "hook_message_dropped": "what another system had posted was put aside by an administrator",
    "hook_message_parked": "what another system has posted could not be applied and needs a look",
    "hook_message_replayed": "what another system had posted was tried again",
    "hook_orphaned": "nobody answers for a webhook endpoint: the key or the right by which it was added is gone",
    "hook_removed": "a webhook endpoint was removed",
    "hook_replayed": "deliveries of a webhook that were given up are to be sent again",
    "hook_rotated": "a webhook endpoint has a new secret",
    "hook_source_added": "another system may post to this server",
    "hook_source_answered_for": "somebody answers for a system that posts to this server again, of which nobody did",
    "hook_source_changed": "a system that posts to this server has other rules, or may post or not",
    "hook_source_orphaned": "nobody answers for a system that posts to this server: its posts are refused",
    "hook_source_removed": "another system may not post to this server any more",
    "hook_source_rotated": "a system that posts to this server has a new secret",
    "hook_tested": "a test was sent to a webhook endpoint",
    "issuer_trust_begun": "somebody wants to trust a CA that came with a refused certificate; issuer_trusted follows",
    "issuer_trusted": "a CA that came with a refused certificate may vouch for a maker's devices from now on",
    "ivr_prompt": "a caller to the activation prompts was told something, and why",
    "job_applied": "the rows of a job that could be done are being done, after somebody has looked at the check",
    "job_begun": "a job of many rows was begun",
    "job_stopped": "a job was stopped by an administrator, or by the server for a reason: what it had done stays",
    "key_recording_closed": "no TLS secrets of a device are recorded any more: somebody ended it before its time",
    "key_recording_deleted": "the TLS secrets that were recorded of a device are gone: by whom, or by themselves",
    "key_recording_ended": "no TLS secrets of a device are recorded any more: its time is over",
    "key_recording_opened": "the TLS secrets of a device's connections are recorded for a while",
    "key_rotated": "everything is sealed with the new master key and the old one is gone",
    "key_rotation_begun": "a new master key was made",
    "key_rotation_resumed": "an unfinished rotation was gone on with",
    "layer_reverted": "a change of a layer was taken back: its settings say what they said before",
    "layer_set": "settings of a layer were set",
    "layer_unset": "settings of a layer were taken away",
    "license_added": "licenses were bought",
    "license_assigned": "a user was given a license",
    "license_removed": "licenses were given back",
    "license_resumed": "a suspended license counts again",
    "license_suspended": "a license counts for nothing until it is resumed",
    "license_unassigned": "a license was taken from its user",
    "line_bound": "an extension was bound to a line of a device",
    "line_unbound": "a line of a device was freed",
    "lines_reverted": "a change of lines was taken back: they have what they had before",
    "login_failed": "somebody tried to sign in and could not: from where, and as whom where there is such a login",
    "login_link_made": "a one-time link to set a password was made",
    "message_dropped": "a mail was not sent: what it would tell was over, or an administrator took it out",
    "message_failed": "a mail was given up: the mail server refused it, or nobody took it for days",
    "message_queued": "a mail was made and waits to be sent",
    "message_replayed": "a mail that was given up is to be sent again",
    "message_sent": "the mail server has taken a mail",
    "message_unmade": "a mail cannot be made and waits: its template is broken, or a name holds what no mail may",
    "model_set": "a device's model was corrected",
    "number_added": "a phone number was added to an account's pool",
    "number_assigned": "an extension was given a phone number",
    "number_held": "a phone number is kept for somebody for a while",
    "number_ported": "a phone number that was being ported has come",
    "number_released": "a phone number that was held is free again",
    "number_removed": "a phone number was removed from an account's pool",
    "number_unassigned": "a phone number was taken from its extension",
    "password_changed": "an administrator has changed their password",
    "password_reset_asked": "a link to set a password was asked for, and mailed",
    "password_set": "an administrator has another password, by a link or from the command line",
    "pin_accepted": "a key that came with an alarm was pinned",
    "pin_forgotten": "a pinned key was forgotten",
    "pin_mismatch": "a certificate whose key is not the pinned one",
    "pin_set": "the first key of a device was pinned",
    "policy_set": "an account asks for licenses or numbers, or lets an extension have so many phones, from now on",
    "power_asked": "somebody wants a phone's power to be taken for a while",
    "power_cut": "the power of a switch's port was taken",
    "power_failed": "a port that was switched off is on again, and was not what it should have been",
    "power_not_restored": "a port that was switched off could not be switched on again yet",
    "power_restored_by_hand": "somebody says that a port is on again which the server could not switch on",
    "power_policy_set": "a site's phones may be switched off by themselves where a resync does not reach them, or not",
    "power_refused": "a phone's power was not taken: why",
    "power_restored": "a port that was switched off is on again",
    "profile_closed": "the profile listener was closed before its time",
    "profile_opened": "the profile listener lets strangers in for a while, to see what their phones can do",
    "range_set": "an account or site has another range in which extensions are suggested",
    "reboot_loop": "a phone fetches the same bytes again and again: it restarts all the time",
    "recovery_code_used": "somebody signed in with a recovery code instead of their second factor",
    "refusal_expected": "refused certificates of an issuer are expected of some models: they are listed no longer",
    "registration_seen": "another system has seen a phone register",
    "resync_begun": "devices are to be told to fetch again: how many, in how many waves, until when",
    "resync_stopped": "devices that were waiting to be told to fetch again are not told any more",
    "resync_stuck": "a device was told to fetch again, or should have asked by itself, and has not come",
    "resync_told": "a device was told to fetch again: by which way, and what came of it",
    "right_granted": "an administrator was granted a right for a time",
    "role_given": "an administrator was given a role",
    "role_taken": "a role was taken from an administrator",
    "rollout_asks_again": "a rollout asks the phones of its step once more, as others had asked all of them",
    "rollout_begun": "a change of a layer reaches some phones first, because many are concerned",
    "rollout_finished": "a change that was rolled out has reached all phones",
    "rollout_halted": "a change reaches no further phones: too many have not come back, or somebody said so",
    "rollout_promoted": "a change that is rolled out reaches more phones",
    "rollout_reverted": "a change that was rolled out is taken back: all phones get the former settings",
    "session_confirmed": "an administrator gave their password again in an open session",
    "second_factor_off": "an administrator signs in with the password alone from now on",
    "second_factor_set": "an administrator needs a second factor from now on",
    "secret_changed": "an extension has another SIP password",
    "secret_revealed": "an extension's SIP password was read",
    "secret_rotated": "an extension came to another phone: it has another SIP password, which the PBX has to read",
    "secrets_revealed": "the secrets in a device's files were read",
    "signed_in": "an administrator signed in",
    "signed_out_everywhere": "an administrator ended their sessions",
    "site_added": "a site was added",
    "site_back": "phones of a site that was told to be offline as a whole are seen again",
    "site_changed": "a site says something else of itself",
    "site_dark": "so many phones of a site are offline that the others are not told one by one (`presence.singly`)",
    "site_removed": "a site was removed",
    "storm_began": "a worker of this node went into storm mode, and none was before: known phones wait too long",
    "storm_ended": "the last worker of this node is calm again: how long it lasted, the worst wait, who is back",
    "storm_shaped": "the values of a storm plan were set in the vendors' layers, or taken back",
    "switch_added": "a switch may be asked where phones are plugged in",
    "switch_changed": "a switch has another name or address, or is opened by something else",
    "switch_port_confirmed": "somebody has said which PoE port an interface of a switch has",
    "switch_removed": "a switch is not known any more",
    "tls_secrets_taken": "the recorded TLS secrets of a device were taken out: what they open can be read",
    "token_opened": "a token URL was opened",
    "tokens_revoked": "token URLs were closed",
    "user_added": "a user was added",
    "user_changed": "a user has another name, or is a place now",
    "user_left": "a user has left: their lines were freed and their activation codes taken back",
    "user_removed": "a user was removed",
    "wipe_asked": "a device shall forget everything that this server has told it",
    "wipe_ended": "a wiped device is served as any other again",
    "wipe_fetched": "a device has fetched what empties its freed lines, or everything",
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
    """A path without what may prove somebody's identity."""
    return _SECRET.sub("***", path[:_LONGEST])
