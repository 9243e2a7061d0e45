"""Use-case: a device fetches or uploads a file. ``fetch`` is the whole way of a request, read top to bottom."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Final, NamedTuple

from provisioner.admission import GO, Admission, Errand, Rank, rank_of
from provisioner.digest import Digest
from provisioner.errors import (
    Deferred,
    Invalid,
    MethodNotAllowed,
    NeedsCredentials,
    NoSuchFile,
    NotIdentified,
    NotYours,
    Paused,
    PinMismatch,
    RenderFailed,
    Revoked,
    TooLarge,
    UnknownDevice,
    WrongListener,
    WrongVendor,
)
from provisioner.firmware import Firmware, FirmwareShelf
from provisioner.gate import address_key
from provisioner.layers import merge, resolve
from provisioner.model import (
    BootView,
    Device,
    DeviceFile,
    DeviceState,
    FetchRecord,
    FileKind,
    ListenerKind,
    Mac,
    Peer,
    Proof,
    ResolvedConfig,
    Verdict,
)
from provisioner.settings import Settings
from provisioner.store.records import Recorder
from provisioner.store.tokens import TokenBook
from provisioner.store.uploads import UploadShelf
from provisioner.store.views import Views
from provisioner.vendor import VendorDriver, older

_TOKEN: Final = re.compile(r"t/([^/]+)/(.+)")
_LADDER: Final = frozenset({Verdict.NONE, Verdict.GENERIC, Verdict.EXPIRED})
"""Verdicts that leave a device to prove itself by HTTP Digest."""
_MODERN: Final = frozenset({"TLSv1.2", "TLSv1.3"})
_PROBED: Final = frozenset({FileKind.LOG, FileKind.RESOURCE, FileKind.CALLS, FileKind.FIRMWARE})
"""Kinds with names without number: that one is missing is not worth a row."""


@dataclass(slots=True)
class Visit:
    """One connection: who is there, and what one read told about it, good for all files of a boot."""

    peer: Peer
    view: BootView | None = None
    config: ResolvedConfig | None = None
    noted: bool = False
    """TLS version and address were handed to the recorder already."""
    file: DeviceFile | None = None
    """What the request under way is about, once that is known; for the edge to count."""
    charged: bool = False
    """Its handshake was counted among the device's."""
    refusals: int = 0
    """Requests refused on it."""


@dataclass(slots=True)  # not frozen: that would make building one, for each request, four times as dear
class Ask:
    """One request as the edge parsed it. ``path`` is clean and relative."""

    method: str
    path: str
    user_agent: str
    at: float
    authorization: str = field(default="", repr=False)
    target: str = ""
    """The request target as sent, which HTTP Digest signs."""
    part: tuple[int, int] | None = None
    """First and last byte, where one range is asked for that does not begin at the first."""
    if_range: str = ""
    """The entity tag for which that range is meant; empty for any."""


class Answer(NamedTuple):
    """What the device gets: bytes made for it, or an image on disk."""

    media_type: str
    body: bytes = b""
    etag: str = ""
    image: Firmware | None = None
    site: str = ""
    """Where the image goes, by whose uplink."""
    record: FetchRecord | None = None
    """What to record once the edge knows which status it sent."""


class Intake(NamedTuple):
    """An upload that is welcome: the file it replaces and the bytes it may have."""

    file: DeviceFile
    cap: int
    record: FetchRecord
    rank: Rank


class Proven(NamedTuple):
    """Which device is there, by what; its vendor is the trust anchor's, or the inventory's without a certificate."""

    mac: Mac
    vendor: str
    proof: Proof
    path: str
    """The file's path without a token."""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The device's side of the house, one a worker."""

    drivers: Mapping[str, VendorDriver]
    views: Views
    recorder: Recorder
    tokens: TokenBook
    uploads: UploadShelf
    firmware: FirmwareShelf
    digest: Digest
    settings: Settings
    base_urls: Mapping[ListenerKind, str]
    admission: Admission

    async def fetch(self, visit: Visit, ask: Ask) -> Answer:
        """The file this device asks for, or an error that says why not."""
        proven = await self._prove(visit, ask)
        file = visit.file = self._file(proven, ask)
        view = await self._view(visit, proven.mac, ask, file)
        self._check(visit, proven, view)
        if file.kind is FileKind.FIRMWARE:
            return await self._image(visit, proven, ask, file, view)
        view = await self._admit(visit, proven, ask, file, view, Errand.REQUEST)
        try:
            body = await self._body(visit, proven, view, file)
        except NoSuchFile:
            if file.kind not in _PROBED:
                self.recorder.fetch(self._record(visit, proven, file, ask))
            raise
        digest = hashlib.sha256(body).hexdigest()
        record = self._record(visit, proven, file, ask, digest, body)
        return Answer(file.media_type, body, f'"{digest[:32]}"', record=record)

    async def welcome(self, visit: Visit, ask: Ask, size: int) -> Intake:
        """Whether this device may send this file, before its body is read; ``size`` is the announced one or 0."""
        proven = await self._prove(visit, ask)
        file = visit.file = self._file(proven, ask)
        if not file.upload:
            raise MethodNotAllowed(f"a {file.kind} file is not sent by devices")
        if proven.proof is Proof.TOKEN:
            # What it sends is served to the device for ever after; a token is good for an hour and for whoever has it.
            raise MethodNotAllowed("nothing is uploaded by a token")
        cap = self._cap(file.kind)
        if size > cap:
            raise TooLarge(f"{size} bytes; a {file.kind} file may have {cap}")
        view = await self._view(visit, proven.mac, ask, file)
        self._check(visit, proven, view)
        view = await self._admit(visit, proven, ask, file, view, Errand.UPLOAD)
        return Intake(file, cap, self._record(visit, proven, file, ask), rank_of(view, file.kind))

    async def keep(self, visit: Visit, intake: Intake, body: bytes) -> None:
        """Put an uploaded body in place of the device's earlier one, durable when it returns."""
        await self.uploads.put(intake.record.mac, intake.file.name, intake.file.kind, body)
        visit.view = None  # it lists the uploads, so this connection reads again
        self.recorder.fetch(replace(intake.record, status=201, size=len(body)))

    # --- who ------------------------------------------------------------------------------------

    async def _prove(self, visit: Visit, ask: Ask) -> Proven:
        """Certificate first; a token URL or HTTP Digest where that proves no single device, or one too old to count."""
        identity = visit.peer.identity
        token = _TOKEN.fullmatch(ask.path)
        if identity.mac and identity.verdict is Verdict.UNIQUE:
            return Proven(identity.mac, identity.vendor, Proof.CERTIFICATE, token[2] if token else ask.path)
        if token:
            return _same(identity.mac, await self._prove_token(visit, ask, token[1], token[2]))
        by_digest = self.settings.digest_enabled and identity.verdict in _LADDER
        if identity.mac and identity.verdict is Verdict.EXPIRED and not (by_digest and ask.authorization):
            return Proven(identity.mac, identity.vendor, Proof.CERTIFICATE, ask.path)
        if by_digest:
            return _same(identity.mac, await self._prove_digest(visit, ask))
        raise NotIdentified(identity.why or f"verdict {identity.verdict}")

    async def _prove_token(self, visit: Visit, ask: Ask, token: str, path: str) -> Proven:
        if (mac := await self.tokens.spend(token, ask.at)) is None:
            raise NotIdentified("the token is unknown, closed, used up or revoked")
        view = await self._load(visit, mac)
        if view is None or not view.device.allow_token:
            raise NotIdentified("this device may not use a token URL")
        return Proven(mac, view.device.vendor, Proof.TOKEN, path, token)

    async def _prove_digest(self, visit: Visit, ask: Ask) -> Proven:
        """The user name is the Mac; unknown, forbidden and wrong are one answer."""
        claim = self.digest.claim(ask.authorization)
        if claim is None:
            raise NeedsCredentials("no digest credentials")
        try:
            mac = Mac.parse(claim.username)
        except Invalid as error:
            raise NeedsCredentials("the user name is no MAC") from error
        view = await self._load(visit, mac)
        secret = view.device.digest_secret if view is not None and view.device.allow_digest else ""
        outcome = self.digest.verify(claim, ask.method, ask.target, secret, ask.at)
        if view is None or outcome != "ok":
            raise NeedsCredentials(f"digest {outcome}", stale=outcome == "stale")
        return Proven(mac, view.device.vendor, Proof.DIGEST, ask.path)

    # --- what -----------------------------------------------------------------------------------

    def _file(self, proven: Proven, ask: Ask) -> DeviceFile:
        """The named file, refused from certificate and path alone when it is another device's."""
        driver = self.drivers.get(proven.vendor)
        if driver is None:
            raise NoSuchFile(f"no driver for vendor {proven.vendor!r}")
        file = driver.match(proven.path, ask.user_agent)
        if file is None:
            raise NoSuchFile(f"no {proven.vendor} file has this name")
        if file.mac is not None and file.mac != proven.mac:
            raise NotYours(f"{proven.mac} asked for a file of {file.mac}")
        return file

    def _cap(self, kind: FileKind) -> int:
        """Bytes."""
        caps = {FileKind.LOG: self.settings.upload_log, FileKind.DIRECTORY: self.settings.upload_directory}
        return caps.get(kind, self.settings.upload_overrides)

    # --- may it -----------------------------------------------------------------------------------

    async def _load(self, visit: Visit, mac: Mac) -> BootView | None:
        """What the store knows of the device: read once a connection, again only after an administrator's change."""
        view = visit.view
        legacy = visit.peer.listener is ListenerKind.LEGACY  # it may have spoken TLS 1.2 elsewhere meanwhile
        if view is None or view.revision != self.views.generation or view.device.mac != mac or legacy:
            visit.view, visit.config = await self.views.boot_view(mac), None
        return visit.view

    async def _view(self, visit: Visit, mac: Mac, ask: Ask, file: DeviceFile) -> BootView:
        view = await self._load(visit, mac)
        if view is None:
            self.recorder.seen(mac, file.vendor, file.agent.model, visit.peer.address, ask.at)
            raise UnknownDevice(f"{mac} proved itself but nobody has added it")
        return view

    def _check(self, visit: Visit, proven: Proven, view: BootView) -> None:
        """Revocation, vendor, pin, expiry and listener, judged anew for each request."""
        device = view.device
        if device.state is DeviceState.REVOKED:
            raise Revoked(f"{device.mac} is revoked")
        if device.vendor != proven.vendor:
            raise WrongVendor(f"{device.mac} is a {device.vendor} device and came as {proven.vendor}")
        if proven.proof is Proof.CERTIFICATE:
            self._check_key(visit, device)
        if visit.peer.listener is ListenerKind.LEGACY:
            self._check_legacy(visit, device)
        elif not visit.noted and not device.seen_modern:
            self.recorder.modern(device.mac)
        if not visit.noted and visit.peer.address and visit.peer.identity.verdict is Verdict.UNIQUE:
            self.recorder.sighted(address_key(visit.peer.address), device.mac)
        visit.noted = True

    def _check_legacy(self, visit: Visit, device: Device) -> None:
        """The weak listener is for models that are listed and have never done better, here or elsewhere."""
        version = visit.peer.tls.version
        if version in _MODERN:
            self.recorder.modern(device.mac)
            raise WrongListener(f"{device.mac} speaks {version}: the device listener is its own")
        if device.model not in self.settings.legacy_models:
            raise WrongListener(f"model {device.model} is not in legacy.models")
        if device.seen_modern:
            raise WrongListener(f"{device.mac} has spoken TLS 1.2 before")

    def _check_key(self, visit: Visit, device: Device) -> None:
        identity = visit.peer.identity
        pinned = device.pinned or self.recorder.pinned(device.mac)
        if pinned and pinned != identity.spki:
            cause = f"{device.mac} came with key {identity.spki[:16]}..., pinned is {pinned[:16]}..."
            raise PinMismatch(cause, came=identity.spki, pinned=pinned)
        if identity.verdict is Verdict.EXPIRED and not self._forgives(device):
            raise NotIdentified(f"the leaf expired at {identity.not_after} and is not pinned to this device")
        if not pinned and identity.verdict is Verdict.UNIQUE:
            self.recorder.pin(device.mac, identity.spki, identity.not_after)

    def _forgives(self, device: Device) -> bool:
        return bool(device.pinned) and device.allow_expired and self.settings.identity_expired == "pinned"

    # --- may it now -------------------------------------------------------------------------------

    async def _admit(
        self, visit: Visit, proven: Proven, ask: Ask, file: DeviceFile, view: BootView, errand: Errand
    ) -> BootView:
        """Go on at once, or after a wait and judged anew, for it may be revoked by then; or Deferred or Paused."""
        full = not visit.charged and not visit.peer.tls.resumed
        visit.charged = True
        spare = errand is Errand.UPLOAD or file.name not in view.uploads
        self.admission.learn(*self.views.populations())
        decision = self.admission.admit(view, file.kind, monotonic(), errand, full=full, spare=spare)
        if decision is GO:
            return view
        if decision.status == Deferred.status:
            raise Deferred(decision.cause, retry_after=decision.retry_after)
        if decision.status:
            raise Paused(decision.cause)
        await asyncio.sleep(0)  # the rule for handlers: yield once before whatever may need a Task
        await asyncio.sleep(decision.hold)
        view = await self._view(visit, proven.mac, ask, file)
        self._check(visit, proven, view)
        return view

    # --- with what -----------------------------------------------------------------------------------

    async def _body(self, visit: Visit, proven: Proven, view: BootView, file: DeviceFile) -> bytes:
        """The device's own last upload where it sent one, otherwise what its vendor's driver renders."""
        if file.upload and file.name in view.uploads:
            stored = await self.uploads.get(proven.mac, file.name)
            if stored is not None:
                return stored
        config = self._config(visit, proven, view, file)
        return self.drivers[proven.vendor].render(file, config)

    def _config(self, visit: Visit, proven: Proven, view: BootView, file: DeviceFile) -> ResolvedConfig:
        model = self.drivers[proven.vendor].manifest.models.get(view.device.model)
        if model is None:
            raise RenderFailed(f"{view.device.mac}: model {view.device.model!r} is in no models.toml")
        version = "" if file.agent.is_updater else file.agent.firmware
        below = bool(version and model.min_firmware) and older(version, model.min_firmware)
        config = visit.config
        if config is not None and config.upgrade_only == below:
            return config
        shared = self.views.shared(view.device)
        merged = shared if view.layer is None else merge([view.layer], onto=shared)
        base = self.base_urls[visit.peer.listener] + (f"t/{proven.token}/" if proven.token else "")
        visit.config = resolve(view.device.mac, model, view.lines, merged, upgrade_only=below, base_url=base)
        return visit.config

    async def _image(self, visit: Visit, proven: Proven, ask: Ask, file: DeviceFile, view: BootView) -> Answer:
        """Only the beginning of a transfer that there is counts as one: phones ask for images in vain at every boot."""
        image = self.firmware.find(file.vendor, file.name)
        part = 0 if image is None else _part(ask, image)
        begins = image is not None and ask.method == "GET" and not self._goes_on(proven.mac, image, part)
        view = await self._admit(visit, proven, ask, file, view, Errand.FIRMWARE if begins else Errand.REQUEST)
        if image is None:
            raise NoSuchFile(f"no firmware image {file.name}")
        if begins:
            self.admission.began(proven.mac, image.path.name, image.size - part, monotonic())
        return Answer("application/octet-stream", image=image, site=view.device.site)

    def _goes_on(self, mac: Mac, image: Firmware, part: int) -> bool:
        """A later part of a transfer that this worker knows."""
        return part > 0 and self.admission.goes_on(mac, image.path.name, part, monotonic())

    def _record(
        self, visit: Visit, proven: Proven, file: DeviceFile, ask: Ask, digest: str = "", body: bytes = b""
    ) -> FetchRecord:
        """What the store keeps of this fetch; a file that does not exist stays a 404."""
        view, config = visit.view, visit.config
        revision = -1
        if digest and file.kind is FileKind.DEVICE and view is not None and config is not None:
            late = view.served < max(view.changed, 0)  # otherwise it has this already, and that costs no write
            revision = view.revision if late and not config.upgrade_only else -1
        return FetchRecord(
            mac=proven.mac,
            file=file.name,
            at=ask.at,
            status=200 if digest else 404,
            size=len(body),
            digest=digest,
            proof=proven.proof,
            listener=visit.peer.listener,
            tls_version=visit.peer.tls.version,
            firmware="" if file.agent.is_updater else file.agent.firmware,
            revision=revision,
            body=body,
        )


def _part(ask: Ask, image: Firmware) -> int:
    """Bytes of a later part that is answered as one (RFC 9110 section 13.1.5); 0 for all that may bring the whole."""
    if ask.part is None or ask.if_range not in ("", image.etag):
        return 0
    first, last = ask.part
    return max(min(last + 1, image.size) - first, 0)


def _same(shown: Mac | None, proven: Proven) -> Proven:
    """A certificate that is not good enough to be let in is good enough to contradict a token."""
    if shown is not None and shown != proven.mac:
        raise NotYours(f"a certificate of {shown} came with the credentials of {proven.mac}")
    return proven
