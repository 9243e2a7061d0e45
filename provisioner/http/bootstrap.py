"""Plain HTTP for phones that trust nobody yet: our CA, files that send them to the secure listener, firmware.

Rule: nothing here knows the store, a device or a user, so nothing here can tell a secret; a file that its driver marks
as possibly secret is a 404, and so is every name with a Mac in it. No redirect, no upload, Content-Length always.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from aiohttp import web

from provisioner.errors import BadPath, NoSuchFile, RangeNotSatisfiable, RenderFailed
from provisioner.firmware import Firmware, FirmwareShelf
from provisioner.http.images import image_answer
from provisioner.http.jotting import jot_plain
from provisioner.http.paths import clean
from provisioner.http.wire import Wire, as_response
from provisioner.model import (
    NO_CLAIM,
    AgentClaim,
    Count,
    DeviceFile,
    FileKind,
    Mac,
    Model,
    ResolvedConfig,
    Scope,
    Sourced,
)
from provisioner.neutral import CUSTOM_CA
from provisioner.vendor import VendorDriver

log: Final = logging.getLogger("provisioner.server")

_EVERYBODY: Final = Mac("000000000000")
_KEPT: Final = 512
"""Rendered files remembered: their bytes depend on name, model and release alone. A name that is no file is not
remembered: finding that out costs little, and a flood of such names must not drive out what phones come for."""
_PUBLIC: Final = frozenset({FileKind.MASTER, FileKind.BOOT, FileKind.COMMON})
_PEM: Final = "application/x-pem-file"
_DER: Final = "application/pkix-cert"
_NOT_FOUND: Final = "not_found"


class BootstrapEdge:
    """The bootstrap listener of one worker.

    ``base_url`` is the secure listener's and ``own_url`` this one's; ``ca_pem`` is empty without an own CA.
    """

    def __init__(
        self,
        drivers: Iterable[VendorDriver],
        shelf: FirmwareShelf,
        ca_pem: str,
        base_url: str,
        count: Count,
        own_url: str = "",
    ) -> None:
        self._drivers = {driver.manifest.name: driver for driver in drivers}
        self._shelf = shelf
        self._count = count
        self._authority = _authority(ca_pem)
        self._base_url = base_url
        self._ca_url = f"{own_url}ca.pem" if own_url and ca_pem else ""
        self._values = _values(ca_pem)
        self._named = {name: _by_name(driver) for name, driver in self._drivers.items()}
        self._rendered = lru_cache(_KEPT)(self._render)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The low-level aiohttp handler."""
        kind, wire = self._answer(request)
        self._count("bootstrap", kind)
        jot_plain(request, wire, kind)
        return as_response(wire)

    def _answer(self, request: web.BaseRequest) -> tuple[str, Wire]:
        if request.method not in ("GET", "HEAD"):
            return "method", Wire(405, headers="Allow: GET, HEAD\r\n", close=True)
        if request.body_exists or len(request.headers.getall("Host", ())) > 1:
            return "bad_request", Wire(400, close=True)
        try:
            path = clean(request.raw_path)
            return self._wire(request, *self._find(path, request.headers.get("User-Agent", "")))
        except (BadPath, NoSuchFile):
            return _NOT_FOUND, Wire(404)
        except RangeNotSatisfiable as error:
            return "range", Wire(416, headers=f"Content-Range: bytes */{error.size}\r\n")
        except RenderFailed as error:
            log.error("bootstrap file %s: %s", path, error.cause)
            return "render_failed", Wire(500)

    @staticmethod
    def _wire(request: web.BaseRequest, kind: str, body: bytes | Firmware, media_type: str) -> tuple[str, Wire]:
        headers = f"Content-Type: {media_type}\r\n"
        if isinstance(body, Firmware):
            return kind, image_answer(request, body, headers)
        return kind, Wire(200, b"" if request.method == "HEAD" else body, headers, size=len(body))

    def _find(self, path: str, user_agent: str) -> tuple[str, bytes | Firmware, str]:
        """Kind for the metrics, body and media type; NoSuchFile for whatever is not for everybody."""
        if own := self._authority.get(path):
            return "ca", *own
        for file in self._claims(path, user_agent):
            if file.kind is FileKind.FIRMWARE:
                if image := self._shelf.find(file.vendor, file.name):
                    return file.kind, image, file.media_type
            elif file.kind in _PUBLIC and not file.secret and file.mac is None:
                return file.kind, self._rendered(file.vendor, _anybodys(file)), file.media_type
        raise NoSuchFile(path)

    def _claims(self, path: str, user_agent: str) -> list[DeviceFile]:
        """What each vendor takes the path for: who knows the User-Agent first, then who owns the Mac, then by name."""
        files = [driver.match(path, user_agent) for driver in self._drivers.values()]
        return sorted((file for file in files if file is not None), key=self._distance)

    def _distance(self, file: DeviceFile) -> int:
        if file.agent != NO_CLAIM:
            return 0
        ouis = self._drivers[file.vendor].manifest.ouis
        return 1 if file.mac is not None and file.mac.oui in ouis else 2

    def _render(self, vendor: str, file: DeviceFile) -> bytes:
        """Render for nobody in particular: no line, no value but our CA, the secure listener's URL."""
        for model in self._models(vendor, file):
            config = ResolvedConfig(
                _EVERYBODY, model, (), self._values, {}, True, base_url=self._base_url, ca_url=self._ca_url
            )
            try:
                return self._drivers[vendor].render(file, config)
            except NoSuchFile:
                continue
        raise NoSuchFile(file.name)

    def _models(self, vendor: str, file: DeviceFile) -> Iterator[Model]:
        """Models the file may be meant for: the one that asks, the one whose file it is, one of each dialect."""
        models = self._drivers[vendor].manifest.models
        likely = (models.get(file.agent.model), self._named[vendor].get(file.name))
        yield from (model for model in likely if model is not None)
        yield from {model.dialect: model for model in reversed(list(models.values()))}.values()


def _anybodys(file: DeviceFile) -> DeviceFile:
    """The file without what its caller says of itself, so that all phones of a model and release share one rendering.

    The release stays, as the first two numbers of the firmware's version: a vendor may speak to it in another dialect.
    """
    release = ".".join(file.agent.firmware.split(".")[:2])
    return replace(file, agent=AgentClaim(file.agent.model, release))


def _authority(ca_pem: str) -> Mapping[str, tuple[bytes, str]]:
    """Our CA under both names, PEM and DER (RFC 7468 section 5)."""
    if not ca_pem:
        return {}
    body = "".join(line for line in ca_pem.splitlines() if line and not line.startswith("-----"))
    return {"ca.pem": (ca_pem.encode("ascii"), _PEM), "ca.crt": (base64.b64decode(body), _DER)}


def _values(ca_pem: str) -> Mapping[str, Sourced]:
    return MappingProxyType({CUSTOM_CA.name: Sourced(ca_pem, Scope.BUILT_IN)} if ca_pem else {})


def _by_name(driver: VendorDriver) -> Mapping[str, Model]:
    """Each name that only one model asks for (``y000000000028.cfg``), and the first model of shared ones."""
    found: dict[str, Model] = {}
    for model in driver.manifest.models.values():
        for pattern in driver.manifest.files.get(model.dialect, ()):
            name = pattern.format(mac=_EVERYBODY, code=model.code, part=model.part_number)
            found.setdefault(name, model)
    return found
