"""Every error raised on purpose: the class says the HTTP status, the cause is for the log, the message for the peer.

A device is told nothing beyond its status; an administrator is told what, why and what to do.
"""

from __future__ import annotations

from typing import ClassVar

from provisioner.deeds import Cure


class ProvisionerError(Exception):
    """The root: ``cause`` goes to the log and to administrators in full, never to a device."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "internal"
    """Stable problem type: the ``reason`` of events and metrics."""

    def __init__(self, cause: str, *, cure: Cure | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.cure = cure
        """What helps; each edge has its own words for how that is done there."""


# --- what a device asked for and does not get ------------------------------------------------


class Refused(ProvisionerError):
    """A device's request that is answered with a status and nothing else."""

    status = 404
    kind = "refused"


class BadPath(Refused):
    """A path that no phone of any vendor sends: tricks, control characters, absolute URLs, 4 kB names."""

    kind = "bad_path"


class NoSuchFile(Refused):
    """The name belongs to no vendor, or this model has no such file. 404 is part of the phones' protocol."""

    kind = "no_such_file"


class NotIdentified(Refused):
    """No certificate of use, no token and no digest; ``kind`` of the event carries the verdict."""

    kind = "not_identified"


class NotYours(Refused):
    """The certificate proves another device than the path names; decided before any look-up."""

    status = 403
    kind = "not_yours"


class WrongVendor(Refused):
    """A known device that asks under another vendor's name."""

    kind = "wrong_vendor"


class UnknownDevice(Refused):
    """A good certificate of a device that nobody has added."""

    kind = "unknown_device"


class Revoked(Refused):
    """A device, token or pinned key that an administrator has revoked."""

    kind = "revoked"


class PinMismatch(Refused):
    """A unique certificate whose key is not the one pinned to this device; both as SHA-256 (hex) of their SPKI."""

    kind = "pin_mismatch"

    def __init__(self, cause: str, *, came: str = "", pinned: str = "") -> None:
        super().__init__(cause)
        self.came = came
        self.pinned = pinned


class WrongListener(Refused):
    """A model or device that must not use this listener (a modern device on the legacy one)."""

    kind = "wrong_listener"


class NeedsCredentials(Refused):
    """HTTP Digest is on and the request had none, or wrong ones.

    ``stale``: they were right for a nonce that is too old, so the device need not ask its user (RFC 7616 section 3.3).
    """

    status = 401
    kind = "needs_credentials"

    def __init__(self, cause: str, *, stale: bool = False) -> None:
        super().__init__(cause)
        self.stale = stale


class BadRequest(Refused):
    """A head or body that breaks HTTP: two Hosts, a body where none belongs."""

    status = 400
    kind = "bad_request"


class MethodNotAllowed(Refused):
    """A method that the named file does not take."""

    status = 405
    kind = "method_not_allowed"


class TooLarge(Refused):
    """An upload over its cap; the one before it is kept."""

    status = 413
    kind = "too_large"


class TooSlow(Refused):
    """A body that did not arrive in its time."""

    status = 408
    kind = "too_slow"


class Busy(Refused):
    """More uploads at once than the worker has memory for; the device sends it again later."""

    status = 503
    kind = "busy"


class Deferred(Refused):
    """A request beyond a limit, of a phone that does better with a status than with a wait; ``retry_after`` in s."""

    status = 503
    kind = "deferred"

    def __init__(self, cause: str, *, retry_after: int) -> None:
        super().__init__(cause)
        self.retry_after = retry_after


class Paused(Refused):
    """A file that can wait, asked for in a storm or too often, by a phone that goes on well without it."""

    kind = "paused"


class RangeNotSatisfiable(Refused):
    """RFC 9110 section 15.5.17: a range beyond the end; ``size`` is the whole's, for Content-Range."""

    status = 416
    kind = "range"

    def __init__(self, cause: str, *, size: int) -> None:
        super().__init__(cause)
        self.size = size


class RenderFailed(ProvisionerError):
    """A template, a value or a stored row that cannot become a correct file; this one request fails, no other."""

    kind = "render_failed"


class StoreFailed(ProvisionerError):
    """The database refused or lost a read or write: locked, full, corrupt."""

    kind = "store_failed"


class AmiError(ProvisionerError):
    """The PBX's manager interface is not there, does not let us in, refuses, or speaks nonsense."""

    kind = "ami"


# --- what an administrator asked for and does not get ----------------------------------------


class Invalid(ProvisionerError):
    """A value refused where it enters, by field name."""

    status = 422
    kind = "invalid"

    def __init__(self, field: str, why: str, *, cure: Cure | None = None) -> None:
        super().__init__(f"{field}: {why}", cure=cure)
        self.field = field
        self.why = why


class NotFound(ProvisionerError):
    """An account, user, extension, device, layer or token that does not exist."""

    status = 404
    kind = "not_found"


class Conflict(ProvisionerError):
    """The change contradicts what is already so: a taken extension, a bound line, a duplicate name."""

    status = 409
    kind = "conflict"


class NoLicense(Conflict):
    """The user who holds the extension has no license for it."""

    kind = "no_license"


class NoNumber(Conflict):
    """Nobody could call the extension: it has no number that can be dialled."""

    kind = "no_number"


class ExtensionHasCode(Conflict):
    """One activation code an extension, and this one has one that can still be used, or is locked."""

    kind = "extension_has_code"


class ExtensionHasPhone(Conflict):
    """One physical phone an extension, and this one has its phone."""

    kind = "extension_has_phone"


class WideChange(Conflict):
    """It concerns many phones, and whoever asks has not said that they know how many."""

    kind = "wide_change"

    def __init__(self, cause: str, *, phones: int) -> None:
        super().__init__(cause)
        self.phones = phones


class ModelUnsupported(Conflict):
    """No vendor's list has this model."""

    kind = "model_unsupported"


class IvrUnsupportedModel(Conflict):
    """A model that cannot be activated by a code; binding it by its MAC works."""

    kind = "ivr_unsupported_model"


class MailOff(Conflict):
    """No mail server is set, so nobody can be written to."""

    kind = "mail_off"


class NoAddress(Conflict):
    """The user has no mail address, or one that no mail server takes."""

    kind = "no_address"


class SwitchFailed(Conflict):
    """A switch does not answer, or refuses what it is asked."""

    kind = "switch_failed"


class NotSignedIn(ProvisionerError):
    """Nobody has proven who asks: no session, no key, or one that is over."""

    status = 401
    kind = "not_signed_in"


class LoginRefused(NotSignedIn):
    """Login, password or code are not right; which of them is told to nobody."""

    kind = "login_refused"


class Throttled(ProvisionerError):
    """Too many attempts of one account or from one place.

    ``retry_after``: in s.
    """

    status = 429
    kind = "throttled"

    def __init__(self, cause: str, *, retry_after: int) -> None:
        super().__init__(cause)
        self.retry_after = retry_after


class Forbidden(ProvisionerError):
    """Who asks is known and lacks the right to do this."""

    status = 403
    kind = "forbidden"

    def __init__(self, cause: str, *, right: str = "") -> None:
        super().__init__(cause)
        self.right = right


class NobodyAnswers(Forbidden):
    """A source acts by the right of whoever answers for it, and nobody does any more."""

    kind = "nobody_answers"


class ProofNeeded(Forbidden):
    """Who asks has the right and was proven too long ago for it."""

    kind = "proof_needed"


class Malformed(ProvisionerError):
    """A request that is not what it says it is: JSON that is none, a field twice, a number that is no number."""

    status = 400
    kind = "malformed"


class WrongMedia(ProvisionerError):
    """A body of another kind than this call takes."""

    status = 415
    kind = "wrong_media"


class BodyTooLarge(ProvisionerError):
    """A body over the limit of the administration's calls."""

    status = 413
    kind = "body_too_large"


class Stale(ProvisionerError):
    """What is to be changed is not as the caller has seen it: somebody was there meanwhile."""

    status = 412
    kind = "stale"


class Unconditional(ProvisionerError):
    """A change of what is there already must say which version of it is meant."""

    status = 428
    kind = "unconditional"


class KeyReused(ProvisionerError):
    """An idempotency key that came with another request before."""

    status = 422
    kind = "key_reused"


class Crowded(ProvisionerError):
    """More at once than this server gives to one caller or to all of them."""

    status = 503
    kind = "crowded"


# --- what leaves this server and does not arrive ----------------------------------------------


class NotNow(ProvisionerError):
    """The other side is not there, or asks to come again; ``everybody``: no other message would fare better now.

    ``after``: s for which it asks not to be asked; ``whom``: who that is, for the log.
    """

    kind = "not_now"

    def __init__(self, cause: str, *, everybody: bool = False, after: float = 0.0, whom: str = "") -> None:
        super().__init__(cause)
        self.everybody = everybody
        self.after = after
        self.whom = whom


class Undeliverable(ProvisionerError):
    """The other side has said no for good, or this message cannot be made."""

    kind = "undeliverable"


class NotWanted(ProvisionerError):
    """What the message would tell is not so any more."""

    kind = "not_wanted"


# --- what keeps the server from starting ------------------------------------------------------


class Unusable(ProvisionerError):
    """The installation cannot run as it is; the cause says what is wrong and what to do."""

    kind = "unusable"
