"""The files of UC Software phones. The master is the same for everybody; what differs stands in ``<mac>-user.cfg``.

``<mac>.cfg`` is never served: its 404 sends the phone on to 000000000000.cfg, which names the files to read by
``[PHONE_MAC_ADDRESS]``. One master for all can be fetched without proof and holds no secret. To a phone that is
nobody yet it names ``poly.cfg``, which says only where the secure listener is and which CA to trust there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Final

from provisioner import neutral
from provisioner.errors import NoSuchFile, RenderFailed
from provisioner.model import DeviceFile, FileKind, Model, ResolvedConfig
from provisioner.rendering import Templates, parse_xml
from provisioner.vendors.poly import ucs_lines, ucs_phone
from provisioner.vendors.poly.names import REDIRECT
from provisioner.vendors.poly.raw import raw_of
from provisioner.vendors.poly.sections import Section, assemble, frame, section
from provisioner.wiping import blank

_NOBODY: Final = "0" * 12
"""The Mac of a configuration made for no device in particular."""
DEVICE_FILE: Final = "[PHONE_MAC_ADDRESS]-user.cfg"
_DIRECTORIES: Final = (
    "MISC_FILES",
    "LOG_FILE_DIRECTORY",
    "OVERRIDES_DIRECTORY",
    "CONTACTS_DIRECTORY",
    "LICENSE_DIRECTORY",
    "CALL_LISTS_DIRECTORY",
    "COREFILE_DIRECTORY",
)
"""Empty: the phone reads and writes beside the master."""
_FRAMES_KEPT: Final = 512
_MASTERS_KEPT: Final = 64


class UcsFiles:
    """Renders what a UC Software phone asks for."""

    def __init__(self, templates: Templates, models: Mapping[str, Model]) -> None:
        self._templates = templates
        self._frame = lru_cache(_FRAMES_KEPT)(partial(frame, templates, "ucs/device.cfg.j2"))
        # The same for thousands of phones, and free of secrets: made once for each of the few inputs they have.
        self._master = lru_cache(_MASTERS_KEPT)(self._make_master)
        self._seed = lru_cache(1)(partial(self._plain, "ucs/000000000000-directory.xml.j2"))
        ended = [model for model in models.values() if model.family in _ENDED]
        self._ended = tuple(model.agents[0].replace("_", "") for model in ended)

    def render(self, file: DeviceFile, config: ResolvedConfig) -> bytes:
        """The bytes of a file; NoSuchFile where 404 is the right answer."""
        if file.kind is FileKind.MASTER and file.mac is None:
            return self._master(image_path(config), REDIRECT if config.mac == _NOBODY else DEVICE_FILE)
        if file.kind is FileKind.DEVICE and file.name.endswith("-user.cfg"):
            return self._laid_out(list(_sections(config)), config)
        if file.kind is FileKind.COMMON:
            return self._laid_out([ucs_phone.provisioning_of(config)], config)
        if file.kind is FileKind.DIRECTORY and file.mac is None:
            return self._seed()
        raise NoSuchFile(f"{file.name}: nothing is made for {config.model.name} under this name")

    def _laid_out(self, sections: list[Section], config: ResolvedConfig) -> bytes:
        laid = self._frame(config.model.name, tuple(one.name for one in sections))
        return assemble(laid, sections)

    def _plain(self, template: str, **values: object) -> bytes:
        body = self._templates.xml(template, **values)
        parse_xml(body)
        return body

    def _make_master(self, image: str, listed: str) -> bytes:
        """Families whose releases have ended get a folder of their own, so that sip.ld never downgrades the others."""
        attributes = [("APP_FILE_PATH", image), ("CONFIG_FILES", listed), *((name, "") for name in _DIRECTORIES)]
        families = [(f"APPLICATION_{name}", _family(name, listed)) for name in self._ended]
        body = self._templates.xml("ucs/000000000000.cfg.j2", attributes=attributes, families=families)
        root = parse_xml(body)
        meant = [dict(attributes), *(dict(values) for _, values in families)]
        if [dict(one.items()) for one in (root, *root)] != meant:
            raise RenderFailed("the master file does not say what was meant")
        return body


_ENDED: Final = frozenset({"soundpoint3", "soundstation3"})


def _family(name: str, listed: str) -> list[tuple[str, str]]:
    return [(f"APP_FILE_PATH_{name}", f"{name.lower()}/sip.ld"), (f"CONFIG_FILES_{name}", listed)]


def image_path(config: ResolvedConfig) -> str:
    """``sip.ld`` becomes ``<part number>.sip.ld`` on the phone; a wanted release is a folder before it."""
    if url := config.get(neutral.FIRMWARE_URL):
        return url
    version = config.get(neutral.FIRMWARE_VERSION)
    return f"{version}/sip.ld" if version else "sip.ld"


def _sections(config: ResolvedConfig) -> Iterable[Section]:
    """All that the device file says; only how to fetch an upgrade while the firmware is too old for secrets."""
    if config.upgrade_only:
        return [ucs_phone.provisioning_of(config)]
    if config.wiped:
        return _wiped(config)
    sections = [
        ucs_phone.provisioning_of(config),
        ucs_phone.network_of(config),
        ucs_phone.secrets_of(config),
        ucs_phone.upkeep_of(config),
        ucs_phone.clock(config.get(neutral.NTP_SERVER), config.get(neutral.TIME_ZONE)),
        ucs_phone.calls_of(config),
        *ucs_lines.registrations(config),
        ucs_lines.forgotten(len(config.lines), ucs_lines.registrations_had(config)),
        *ucs_lines.keys(config),
    ]
    if config.raw:
        own = _with_twins(raw_of(config))
        sections = [*(one.without(own) for one in sections), section("raw", own)]
    return [one for one in sections if one.values]


def _wiped(config: ResolvedConfig) -> list[Section]:
    """A bare phone, and what only layers have said, emptied by name: an empty value is the phone's own default."""
    bare = list(_sections(blank(config)))
    told = {name for one in bare for name in one.values}
    had = [name for one in _sections(replace(config, wiped=False)) for name in one.values]
    last = ucs_lines.forgotten(0, ucs_lines.registrations_had(config))
    reset = {name: _FACTORY.get(name, "") for name in had if name not in told and name not in last.values}
    reset |= {name: "1" for name in reset if name.startswith("device.") and name.endswith(".set")}
    return [one for one in (*bare, last, section("reset", reset)) if one.values]


_FACTORY: Final = {"device.auth.localAdminPassword": "456", "device.auth.localUserPassword": "123"}
"""The maker's own [inferred]; everything else is empty, which is off or the phone's own."""


def _with_twins(raw: Mapping[str, str]) -> dict[str, str]:
    """A raw ``device.`` parameter brings its ``.set`` along unless that is given too."""
    own: dict[str, str] = {}
    for name, value in raw.items():
        if name.startswith("device.") and not name.endswith(".set"):
            own[f"{name}.set"] = "1"
        own[name] = value
    return own | {name: value for name, value in raw.items() if name.endswith(".set")}
