"""Use-case: a device fetches or uploads a file. ``fetch`` is the whole way of a request, read top to bottom."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final

from provisioner.activation_offer import Moment, Offers
from provisioner.activation_secret import ENTROPY
from provisioner.admission import GO, Admission, Decision, Errand, rank_of
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
from provisioner.layers import Merged, merge, resolve
from provisioner.model import (
    BootView,
    Device,
    DeviceFile,
    DeviceState,
    FetchRecord,
    FileKind,
    ListenerKind,
    Mac,
    Proof,
    ResolvedConfig,
    Verdict,
)
from provisioner.neutral import ACTIVATION
from provisioner.settings import Settings
from provisioner.store.records import Recorder
from provisioner.store.tokens import TokenBook
from provisioner.store.uploads import UploadShelf
from provisioner.store.views import Views
from provisioner.vendor import VendorDriver, older
from provisioner.visit import Answer, Ask, Intake, Proven, Visit

_TOKEN: Final = re.compile(r"t/([^/]+)/(.+)")
_LADDER: Final = frozenset({Verdict.NONE, Verdict.GENERIC, Verdict.EXPIRED})
"""Verdicts that leave a device to prove itself by HTTP Digest."""
_MODERN: Final = frozenset({"TLSv1.2", "TLSv1.3"})
_NOBODY: Final = ""
"""The account of a device that nobody has added."""
_PROBED: Final = frozenset({FileKind.LOG, FileKind.RESOURCE, FileKind.CALLS, FileKind.FIRMWARE})
"""Kinds with names without number: that one is missing is not worth a row."""


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
    offers: Offers

    async def fetch(self, visit: Visit, ask: Ask) -> Answer:
        """The file this device asks for, or an error that says why not."""
        proven = await self._prove(visit, ask)
        file = visit.file = self._file(proven, ask)
        try:
            view = await self._view(visit, proven.mac, ask, file)
        except UnknownDevice:
            if (stranger := self._stranger(visit, proven, file)) is None:
                raise
            return await self._offer(visit, proven, ask, file, stranger)
        self._check(visit, proven, view)
        if file.kind is FileKind.FIRMWARE:
            return await self._image(visit, proven, ask, file, view)
        view = await self._admit(visit, proven, ask, file, view, Errand.REQUEST)
        try:
            body = await self._body(visit, proven, view, file, ask.at)
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
        """Put an uploaded body in place of its owner's earlier one, durable when it returns."""
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
            visit.view = None  # as below
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
            visit.view = None  # what is recorded of this connection is not this device's
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
        if errand is Errand.REQUEST and self._waits(visit, proven, view):
            decision = self._may_be_offered(visit, view.device, file)
        else:
            decision = self.admission.admit(view, file.kind, monotonic(), errand, full=full, spare=spare)
        if decision is GO:
            return view
        visit.held = decision.hold
        await _held(decision)
        view = await self._view(visit, proven.mac, ask, file)
        self._check(visit, proven, view)
        return view

    # --- nobody's phone yet -----------------------------------------------------------------------

    def _stranger(self, visit: Visit, proven: Proven, file: DeviceFile) -> BootView | None:
        """What would be known of a device that nobody has added, where its network lets it ask its user for a code."""
        model = self.drivers[proven.vendor].manifest.models.get(file.agent.model)
        if model is None or not self.offers.reach(visit.peer.address):
            return None
        view = BootView(Device(proven.mac, proven.vendor, model.name, DeviceState.UNASSIGNED, _NOBODY))
        return view if self._waits(visit, proven, view) else None

    def _waits(self, visit: Visit, proven: Proven, view: BootView) -> bool:
        """Whether the device has no line, is surely itself, and its account lets it ask its user for a code."""
        if view.lines or view.wiped:
            return False
        if visit.peer.listener is not ListenerKind.DEVICE or visit.peer.identity.mac != proven.mac:
            return False
        if proven.proof is not Proof.CERTIFICATE or visit.peer.identity.verdict is not Verdict.UNIQUE:
            return False
        policy = self._merged(view)[0].get(ACTIVATION.name)
        return view.device.account == _NOBODY or (policy is not None and policy.value is True)

    def _may_be_offered(self, visit: Visit, device: Device, file: DeviceFile) -> Decision:
        return self.admission.offer(device, file.kind, address_key(visit.peer.address), monotonic())

    async def _offer(self, visit: Visit, proven: Proven, ask: Ask, file: DeviceFile, view: BootView) -> Answer:
        """The activation configuration for a device without a row, which gets none by this."""
        decision = self._may_be_offered(visit, view.device, file)
        if decision is not GO:
            visit.held = decision.hold
            await _held(decision)
        config = self._config(visit, proven, view, file, ask.at)
        if config.upgrade_only:
            raise UnknownDevice(f"{proven.mac} is not added, and its firmware is too old to be offered activation")
        body = self.drivers[proven.vendor].render(file, config)
        return Answer(file.media_type, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')

    # --- with what -----------------------------------------------------------------------------------

    async def _body(self, visit: Visit, proven: Proven, view: BootView, file: DeviceFile, now: float) -> bytes:
        """What the device sent last for its owner, otherwise what its vendor's driver renders.

        What a phone without a line sends lay in its memory and was its former user's: who waits for it gets none of it,
        nor does one that is to forget everything.
        """
        if file.upload and file.name in view.uploads and not (view.wiped or self._waits(visit, proven, view)):
            stored = await self.uploads.get(proven.mac, file.name, view.owner)
            if stored is not None:
                return stored
        config = self._config(visit, proven, view, file, now)
        return self.drivers[proven.vendor].render(file, config)

    def _config(self, visit: Visit, proven: Proven, view: BootView, file: DeviceFile, now: float) -> ResolvedConfig:
        model = self.drivers[proven.vendor].manifest.models.get(view.device.model)
        if model is None:
            raise RenderFailed(f"{view.device.mac}: model {view.device.model!r} is in no models.toml")
        version = "" if file.agent.is_updater else file.agent.firmware
        below = bool(version and model.min_firmware) and older(version, model.min_firmware)
        config = visit.config
        if config is not None and config.upgrade_only == below:
            return config
        base = self.base_urls[visit.peer.listener] + (f"t/{proven.token}/" if proven.token else "")
        config = resolve(
            view.device.mac, model, view.lines, self._merged(view), upgrade_only=below, base_url=base,
            emptied=view.emptied, wiped=view.wiped,
        )  # fmt: skip
        waits = self._waits(visit, proven, view)
        visit.config = self._activation(visit, view.device, config, now) if waits else config
        return visit.config

    def _merged(self, view: BootView) -> Merged:
        shared = self.views.shared(view.device)
        return shared if view.layer is None else merge([view.layer], onto=shared)

    def _activation(self, visit: Visit, device: Device, config: ResolvedConfig, now: float) -> ResolvedConfig:
        moment = visit.moment = visit.moment or Moment(now, os.urandom(ENTROPY))
        known = device.account != _NOBODY
        offered = self.offers.configuration(config, moment, site=device.site, known=known)
        if offered.activation and (event := self.offers.event(offered, visit.peer.address, now, known=known)):
            self.recorder.event(event)
        return offered

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
            address=visit.peer.address,
        )


async def _held(decision: Decision) -> None:
    """Wait as long as it says, or Deferred or Paused."""
    if decision.status == Deferred.status:
        raise Deferred(decision.cause, retry_after=decision.retry_after)
    if decision.status:
        raise Paused(decision.cause)
    await asyncio.sleep(0)  # the rule for handlers: yield once before whatever may need a Task
    await asyncio.sleep(decision.hold)


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
