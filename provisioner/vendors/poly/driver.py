"""Poly's driver: tells the dialects apart, names files and leaves, and hands rendering to the dialect."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from provisioner.errors import NoSuchFile
from provisioner.model import DeviceFile, FactoryName, FileKind, Model, PeerCert, ResolvedConfig
from provisioner.rendering import Templates
from provisioner.vendor import Manifest, VendorDriver, load_models
from provisioner.vendors.poly import leaf, names, raw
from provisioner.vendors.poly.obi import ObiFiles
from provisioner.vendors.poly.ucs import UcsFiles
from provisioner.vendors.poly.ucs_phone import LANGUAGES

_UCS_FILES: Final = (
    "{mac}.cfg",
    "000000000000.cfg",
    names.REDIRECT,
    "{mac}-user.cfg",
    "{mac}-phone.cfg",
    "{mac}-web.cfg",
    "000000000000-license.cfg",
    "{mac}-license.cfg",
    "{mac}-directory.xml",
    "000000000000-directory.xml",
    "{mac}-calls.xml",
    "{mac}-app.log",
    "{mac}-boot.log",
)

_AGENTS_KEPT: Final = 1024


class Poly:
    """SoundPoint IP to Edge E (UC Software), OBi and ATA."""

    def __init__(self, templates: Templates) -> None:
        models = load_models("poly", Path(__file__).with_name("models.toml"))
        # A phone says the same with each request of its boot.
        self._claim = lru_cache(_AGENTS_KEPT)(partial(names.claim, agents=names.agents_of(models)))
        boot = [model.agents[0] for model in models.values() if model.dialect == "obi"]
        self._boot_files = MappingProxyType({f"{token.lower()}.xml": f"{token}.xml" for token in boot})
        self._ucs = UcsFiles(templates, models)
        self._obi = ObiFiles(templates)
        self._manifest = Manifest(
            name="poly",
            title="Poly (Polycom, OBi)",
            ouis=frozenset({"0004f2", "64167f", "482567", "00e0db", "9cadef"}),
            models=models,
            files=MappingProxyType({"ucs": _UCS_FILES, "ucs4": _UCS_FILES, "obi": ("{mac}.xml",)}),
            languages=LANGUAGES,
        )

    @property
    def manifest(self) -> Manifest:
        """Poly's data."""
        return self._manifest

    def identify(self, cert: PeerCert) -> FactoryName:
        """The Mac in the leaf's CN."""
        return leaf.read(cert.leaf)

    def match(self, path: str, user_agent: str) -> DeviceFile | None:
        """Which file the path means; ``<mac>.cfg`` and ``<mac>.xml`` are other vendors' names too."""
        return names.match(path, self._claim(user_agent), self._boot_files)

    def render(self, file: DeviceFile, config: ResolvedConfig) -> bytes:
        """The file for this device; uploads, firmware and resources are not made here."""
        if file.upload or file.kind is FileKind.FIRMWARE:
            raise NoSuchFile(f"{file.name} is only served as it was stored")
        files = self._obi if config.model.dialect == "obi" else self._ucs
        return files.render(file, config)

    def resync_event(self, model: Model, reboot: bool) -> str:
        """UC Software knows one event and decides itself whether to restart; OBi has one for each."""
        if model.dialect != "obi":
            return "check-sync"
        return "reboot" if reboot else "resync"

    def check_raw(self, name: str, value: str) -> None:
        """Invalid when this cannot be a raw parameter of a Poly device."""
        raw.check(name, value)


def _conforms(driver: Poly) -> VendorDriver:
    """The claim that Poly keeps the contract, checked by mypy."""
    return driver
