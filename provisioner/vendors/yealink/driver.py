"""The Yealink driver: names of files, the Mac in a certificate, and files from what is meant, read back before they go.

Boot policy. From firmware 81 on a phone asks for ``<mac>.boot`` first and stops when it gets one, so that file is
always served and includes the model's common file and the device file: nothing is left to 404s. Overwrite
mode stays off: on, it returns what no file says to the default, and a VLAN set by hand would cut its phone off; the
device file switches off by name what it does not use. Without a certificate a phone gets
only ``y000000000000.boot`` or its common file, which send it to the server and hold nothing else.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from provisioner import neutral
from provisioner.errors import Invalid, NoSuchFile, RenderFailed
from provisioner.model import DeviceFile, FactoryName, FileKind, Mac, Model, PeerCert, ResolvedConfig
from provisioner.rendering import Block, Templates
from provisioner.vendor import Manifest, load_models
from provisioner.vendors.yealink import grammar
from provisioner.vendors.yealink.accounts import accounts, forgotten, idle, keys
from provisioner.vendors.yealink.agents import claim, tokens
from provisioner.vendors.yealink.parameters import (
    CUSTOM_CA,
    LANGUAGES,
    LONGEST_RETRY,
    bootstrap,
    in_80,
    settings,
    upgrade,
)
from provisioner.wiping import blank

NAME: Final = "yealink"
REDIRECT: Final = "yealink.cfg"
"""The configuration that y000000000000.boot includes; a name of our own, since y000000000000.cfg is the T28P's."""

_MODELS: Final = Path(__file__).with_name("models.toml")
_XML: Final = "text/xml; charset=utf-8"
_BINARY: Final = "application/octet-stream"
_PATH: Final = re.compile(
    r"(?P<mac>[0-9a-f]{12})(?P<what>\.boot|\.cfg|-local\.cfg|-all\.cfg|-contact\.xml|-calllog\.xml|-boot\.log|-sys\.log)"
    r"|y(?P<code>[0-9]{12})(?P<form>\.boot|\.cfg)|(?P<redirect>yealink\.cfg)|(?P<ca>yealink-ca\.pem)"
    r"|(?:firmware/)?(?P<image>[a-z0-9][a-z0-9._-]{0,120}\.rom)",
    re.IGNORECASE,
)
_OF_DEVICE: Final[Mapping[str, tuple[FileKind, bool, str]]] = {
    ".boot": (FileKind.BOOT, False, ""),
    ".cfg": (FileKind.DEVICE, False, ""),
    "-local.cfg": (FileKind.OVERRIDES, True, ""),
    "-all.cfg": (FileKind.OVERRIDES, True, ""),
    "-contact.xml": (FileKind.DIRECTORY, True, _XML),
    "-calllog.xml": (FileKind.CALLS, True, _XML),
    "-boot.log": (FileKind.LOG, True, ""),
    "-sys.log": (FileKind.LOG, True, ""),
}
"""End of the name -> kind, whether the device sends it, media type where it is not plain text."""
_LAST_OLD_RELEASE: Final = 80
_SYNCED: Final = ("{mac}-local.cfg", "{mac}-contact.xml")
_AGENTS_KEPT: Final = 1024
_COMMONS_KEPT: Final = 64
"""Common files remembered: they have few inputs, and no secret or token among them."""
_FRAMES_KEPT: Final = 256
_ANY_MAC: Final = "[the Mac]"
"""What stands for the device's own in the boot file of a model."""
_OWN: Final = ("unused", "accounts", "keys", "raw")
"""Sections of the device file beside its settings."""
_COMMON: Final = "y{code:0>12}.cfg"
_PEM: Final = "application/x-pem-file"
_PLAIN: Final = "text/plain; charset=utf-8"


@lru_cache(4)  # as load_models
def _vendor(models: Path) -> tuple[str, frozenset[str]]:
    """What the file says of the vendor: its title, and how its Macs begin."""
    own = tomllib.loads(models.read_text(encoding="utf-8"))["vendor"]
    return own["title"], frozenset(own["ouis"])


class Yealink:
    """Four verbs, see ``provisioner.vendor.VendorDriver``; and ``check_raw`` for administrators' raw parameters."""

    def __init__(self, templates: Templates, models: Path = _MODELS) -> None:
        title, ouis = _vendor(models)
        rows = load_models(NAME, models)
        self._manifest = Manifest(
            name=NAME,
            title=title,
            ouis=ouis,
            models=rows,
            files={
                "v80": (_COMMON, "{mac}.cfg"),
                "v81": ("{mac}.boot", _COMMON, "{mac}.cfg", *_SYNCED),
                "dect": ("{mac}.boot", _COMMON, "{mac}.cfg", *_SYNCED),
            },
            languages=LANGUAGES,
            ceilings={neutral.RETRY_DELAY.name: LONGEST_RETRY},
        )
        self._templates = templates
        self._frame = lru_cache(_FRAMES_KEPT)(partial(grammar.frame, templates))
        self._common_of = lru_cache(_COMMONS_KEPT)(self._make_common)
        self._includes = lru_cache(_FRAMES_KEPT)(self._make_includes)
        # A phone says the same with each request of its boot.
        self._claim = lru_cache(_AGENTS_KEPT)(partial(claim, known=tokens(rows)))
        self._makers: Mapping[FileKind, Callable[[DeviceFile, ResolvedConfig], bytes]] = {
            FileKind.BOOT: self._boot,
            FileKind.COMMON: self._common,
            FileKind.DEVICE: self._device,
            FileKind.RESOURCE: _custom_ca,
        }

    @property
    def manifest(self) -> Manifest:
        """The vendor's data."""
        return self._manifest

    def identify(self, cert: PeerCert) -> FactoryName:
        """CN is the Mac in any spelling; the generic certificate names none, and only a Yealink Mac makes it unique."""
        try:
            names = x509.load_der_x509_certificate(cert.leaf).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            mac = Mac.parse(str(names[0].value)) if len(names) == 1 else None
        except (ValueError, Invalid):
            mac = None
        if mac is None:
            return FactoryName(None, note="no Mac in the common name: the generic Yealink certificate")
        if mac.oui not in self._manifest.ouis:
            return FactoryName(None, note=f"{mac.colons} is no Yealink Mac (models.toml lists the OUIs)")
        return FactoryName(mac)

    def match(self, path: str, user_agent: str) -> DeviceFile | None:
        """The file of that name; key files (``*.enc``) are not ours, so their 404 leaves the phone in clear text."""
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        agent = self._claim(user_agent)
        if found["mac"]:
            try:
                mac = Mac.parse(found["mac"])
            except Invalid:  # all zeros: another vendor's name for everybody
                return None
            kind, upload, media = _OF_DEVICE[found["what"].lower()]
            return DeviceFile(NAME, kind, path.lower(), mac, upload, True, media or _PLAIN, agent)
        if found["ca"]:
            return DeviceFile(NAME, FileKind.RESOURCE, CUSTOM_CA, None, False, False, _PEM, agent)
        if found["image"]:
            return DeviceFile(NAME, FileKind.FIRMWARE, found["image"], None, False, False, _BINARY, agent)
        kind = FileKind.BOOT if (found["form"] or "").lower() == ".boot" else FileKind.COMMON
        if kind is FileKind.BOOT and int(found["code"]):
            return None  # only the boot file for everybody exists
        return DeviceFile(NAME, kind, path.lower(), None, False, False, _PLAIN, agent)

    def render(self, file: DeviceFile, config: ResolvedConfig) -> bytes:
        """The file's bytes; uploads and images are not rendered."""
        maker = self._makers.get(file.kind)
        if maker is None:
            raise NoSuchFile(f"{file.name}: the device has not sent this file yet")
        dialect = _spoken(file.agent.firmware, config.model.dialect)
        if dialect != config.model.dialect:
            config = replace(config, model=replace(config.model, dialect=dialect))
        return maker(file, config)

    def resync_event(self, model: Model, reboot: bool) -> str:
        """check-sync; ``sip.notify_reboot_enable = 0`` in the device file makes reboot=false fetch only."""
        del model
        return f"check-sync;reboot={'true' if reboot else 'false'}"

    def check_raw(self, name: str, value: str) -> None:
        """Invalid unless the raw parameter is one line that a phone reads as written."""
        grammar.check_raw(name, value)

    # --- one maker a kind -------------------------------------------------------------------------

    def _boot(self, file: DeviceFile, config: ResolvedConfig) -> bytes:
        if file.mac is None:
            return self._includes((REDIRECT,))
        if config.model.dialect == "v80":
            raise NoSuchFile(f"{file.name}: firmware up to 80 has no boot files")
        common = [_COMMON.format(code=config.model.code)] if config.model.code else []
        # Rendered and read back once a model: at the first file of a boot none of Jinja's code is in the CPU's cache.
        laid = self._includes((*common, f"{_ANY_MAC}.cfg"))
        return laid.replace(_ANY_MAC.encode(), config.mac.encode())

    def _make_includes(self, names: tuple[str, ...]) -> bytes:
        out = self._templates.lines("boot.j2", files=names)
        included = tuple(re.findall(r'^include:config "([^"]+)"$', out.decode("utf-8"), re.MULTILINE))
        if included != names or not out.startswith(grammar.HEADER.encode()):
            raise RenderFailed(f"the boot file would include {included}, not {names}")
        return out

    def _common(self, file: DeviceFile, config: ResolvedConfig) -> bytes:
        """The same bytes for every device of the model: where to go, whom to trust."""
        meant = bootstrap(config.base_url, config.ca_url)
        if file.name != REDIRECT:
            if not config.model.code or file.name != _COMMON.format(code=config.model.code):
                raise NoSuchFile(f"{file.name} is not the common file of a {config.model.name}")
            meant = in_80(meant) if config.model.dialect == "v80" else meant
        return self._common_of(tuple(meant.items()))

    def _make_common(self, meant: tuple[tuple[str, str], ...]) -> bytes:
        return self._checked("common.j2", {"settings": grammar.lay_out_shared(meant)})

    def _device(self, file: DeviceFile, config: ResolvedConfig) -> bytes:
        del file
        bare = blank(config) if config.wiped else config
        general = _general(bare)
        sections = {"settings": grammar.lay_out_shared(tuple(general.items()))}
        own = {} if config.upgrade_only else _own(bare, config)
        for name in _OWN:
            sections[name] = own.get(name, Block())
        return self._checked("device.j2", sections)

    def _checked(self, template: str, sections: Mapping[str, Block]) -> bytes:
        present = tuple([name for name, text in sections.items() if text])
        laid = self._frame(template, present, tuple([name for name, text in sections.items() if not text]))
        return grammar.assemble(laid, [text for text in sections.values() if text]).encode()


def _spoken(firmware: str, usual: str) -> str:
    """The dialect of the firmware that asks: its second field is the release, and ``static.`` names came with 81.

    A phone that does not tell its firmware gets the usual dialect of its model's last releases.
    """
    release = firmware.split(".")[1] if firmware else ""
    if not release:
        return usual
    if int(release) <= _LAST_OLD_RELEASE:
        return "v80"
    return "v81" if usual == "v80" else usual


def _general(config: ResolvedConfig) -> dict[str, str]:
    found = upgrade(config) if config.upgrade_only else settings(config)
    return in_80(found) if config.model.dialect == "v80" else found


def _own(config: ResolvedConfig, whole: ResolvedConfig) -> dict[str, Block]:
    """Lines and keys of this device, what it does not use, and raw parameters, which come last and so win."""
    return {
        "unused": grammar.lay_out_shared(tuple((idle(config) | forgotten(whole)).items())),
        "accounts": accounts(config),
        "keys": grammar.lay_out(keys(config)),
        "raw": grammar.lay_out(_reset(whole) if whole.wiped else _raw(config)),
    }


def _reset(config: ResolvedConfig) -> dict[str, str]:
    """What layers say and a bare device is not told goes back to the phone's own; nothing that its user set stays."""
    bare = blank(config)
    kept = {*_general(bare), *idle(bare), *forgotten(config)}
    found = {name: "" for name in (*_general(config), *keys(config), *_raw(config)) if name not in kept}
    # The phone's own passwords are its users' names (inferred); an empty one would be no default.
    found |= {name: f"{user}:{user}" for name in found if (user := name.partition(" ")[2])}
    protect = (
        "static.auto_provision.custom.protect" if config.model.dialect != "v80" else "auto_provision.custom.protect"
    )
    return {**found, protect: "0"}


def _raw(config: ResolvedConfig) -> dict[str, str]:
    """Raw parameters by name, so that the order in which they were saved changes no byte."""
    found: dict[str, str] = {}
    for name in sorted(config.raw):
        value = str(config.raw[name].value)
        try:
            grammar.check_raw(name, value)
        except Invalid as error:
            raise RenderFailed(f"raw parameter {error.cause}") from error
        found[grammar.identity(name, value)] = "" if value == grammar.NULL else value
    return found


def _custom_ca(file: DeviceFile, config: ResolvedConfig) -> bytes:
    pem = config.get(neutral.CUSTOM_CA)
    if not pem:
        raise NoSuchFile(f"{file.name}: no ca.custom is set for this device")
    return pem.encode("ascii")
