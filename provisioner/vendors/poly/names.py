"""Which file a path means and which phone a User-Agent claims: tables of patterns, no state, never an exception."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from provisioner.errors import Invalid
from provisioner.model import NO_CLAIM, AgentClaim, DeviceFile, FileKind, Mac, Model

_LONGEST_AGENT: Final = 256
_XML: Final = "text/xml; charset=utf-8"
_BYTES: Final = "application/octet-stream"

_UCS_AGENT: Final = re.compile(
    r"(?:FileTransport|Microbrowser/[0-9.]{1,12}) Poly(?:com)?[A-Za-z]{0,24}-(?P<token>[A-Za-z0-9_]{1,24})-UA/"
    r"(?P<version>[0-9.]{1,32})(?:_[0-9A-Fa-f]{12})?(?: \(SN:(?P<mac>[0-9A-Fa-f]{12})\))?"
    r"(?: Type/(?P<type>[A-Za-z]{1,16}))?"
)
"""``FileTransport PolycomVVX-VVX_450-UA/5.9.1.0615 (SN:0004f2..) Type/Application``; SN only with tagSerialNo."""
_OBI_AGENT: Final = re.compile(
    r"(?P<token>[A-Za-z0-9]{3,16})(?:/(?P<version>[0-9][0-9.]{0,31}))?(?: (?P<mac>[0-9A-Fa-f]{12}))?"
)
"""The bare model, the factory's ``$DM``; or ``$DM/$FWV $MAC`` as the first configuration sets it."""


class _Form(NamedTuple):
    """What a file with a Mac in its name is."""

    kind: FileKind
    upload: bool = False
    secret: bool = True
    media_type: str = _XML


_MAC: Final = re.compile(r"[0-9a-f]{12}")
_ZERO: Final = "0" * 12
_OVERRIDES: Final = _Form(FileKind.OVERRIDES, upload=True)
_ENDS: Final = MappingProxyType(
    {
        ".cfg": _Form(FileKind.MASTER, secret=False),
        "-user.cfg": _Form(FileKind.DEVICE),
        ".xml": _Form(FileKind.DEVICE),
        "-phone.cfg": _OVERRIDES,
        "-web.cfg": _OVERRIDES,
        "-flk.cfg": _OVERRIDES,
        "-license.cfg": _Form(FileKind.LICENSE),
        "-directory.xml": _Form(FileKind.DIRECTORY, upload=True),
        "-calls.xml": _Form(FileKind.CALLS, upload=True),
        "-ca.pem": _Form(FileKind.RESOURCE, secret=False, media_type="application/x-pem-file"),
    }
)
"""What follows the Mac; twelve zeros in its place make the file everybody's."""
_OTHER_ENDS: Final = (
    (
        re.compile(r"-(?:app|boot|now|[0-9]{1,6}-?[a-z]{0,8})\.log"),
        _Form(FileKind.LOG, upload=True, media_type="text/plain; charset=utf-8"),
    ),
    (re.compile(r"-core[a-z0-9._-]{0,24}\.tar\.gz"), _Form(FileKind.LOG, upload=True, media_type=_BYTES)),
)
_FIRMWARE: Final = re.compile(
    r"(?:[0-9]{4}-[0-9]{5}-[0-9]{3}\.)?(?:sip|dect|bootblock|updater)\.(?:ld|ver)|[a-z0-9][a-z0-9._-]{0,60}\.fw"
)
"""``2345-12600-001.sip.ld``, ``sip.ld``, ``sip.ver``; ``.fw`` is the OBi image that this server's own URL names."""
_FIRMWARE_FOLDER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}")
_RESOURCE: Final = re.compile(
    r"(?:languages|[A-Za-z]{3,24}Localization)/(?:[A-Za-z_]{2,40}/)?[A-Za-z0-9_-]{1,60}\.xml"
    r"|(?:[A-Za-z0-9_-]{1,40}/)?(?:Website_dictionary_language_[A-Za-z_-]{2,40}\.xml|[A-Za-z0-9_-]{1,60}\.(?:wav|jpg|png|bmp))"
)
REDIRECT: Final = "poly.cfg"
"""A name of our own: everybody's configuration on the bootstrap listener, which leads to the secure one."""
_EVERYBODY: Final = frozenset({FileKind.MASTER, FileKind.LICENSE, FileKind.DIRECTORY})


def agents_of(models: Mapping[str, Model]) -> Mapping[str, str]:
    """User-Agent token, lower case -> model name."""
    return {token.lower(): model.name for model in models.values() for token in model.agents}


def claim(user_agent: str, agents: Mapping[str, str]) -> AgentClaim:
    """What the User-Agent says; NO_CLAIM when it is not in one of Poly's forms."""
    text = user_agent[:_LONGEST_AGENT]
    if found := _UCS_AGENT.match(text):
        return _claim(found, agents, is_updater=(found["type"] or "").lower() == "updater")
    if (found := _OBI_AGENT.fullmatch(text)) and found["token"].lower() in agents:
        return _claim(found, agents, is_updater=False)
    return NO_CLAIM


def _claim(found: re.Match[str], agents: Mapping[str, str], *, is_updater: bool) -> AgentClaim:
    model = agents.get(found["token"].lower(), "")
    return AgentClaim(model, (found["version"] or "").strip("."), _mac(found["mac"]), is_updater)


def _mac(text: str | None) -> Mac | None:
    try:
        return Mac.parse(text) if text else None
    except Invalid:
        return None


def match(path: str, agent: AgentClaim, folders: Mapping[str, str]) -> DeviceFile | None:
    """The file that a clean relative path names. ``folders``: lower-case ``<model>.xml`` -> its spelling, for OBi."""
    last = path.rpartition("/")[2].lower()
    if "/" not in path and (with_mac := _of_mac(last, agent)) is not None:  # nearly every request
        return with_mac
    if (found := _firmware(path, last)) is not None:
        return DeviceFile("poly", FileKind.FIRMWARE, found, secret=False, media_type=_BYTES, agent=agent)
    if _RESOURCE.fullmatch(path):
        kind = _XML if last.endswith(".xml") else _BYTES
        return DeviceFile("poly", FileKind.RESOURCE, path, secret=False, media_type=kind, agent=agent)
    if "/" in path:
        return None
    if last == REDIRECT:
        return DeviceFile("poly", FileKind.COMMON, last, secret=False, media_type=_XML, agent=agent)
    if last in folders:
        return DeviceFile("poly", FileKind.BOOT, folders[last], secret=False, media_type=_XML, agent=agent)
    return None


def _firmware(path: str, last: str) -> str | None:
    """The image's name on disk: the folder that the master gives for a release is its first part, ``5.9.6_sip.ld``."""
    folder, slash, _ = path.rpartition("/")
    if not _FIRMWARE.fullmatch(last) or (slash and not _FIRMWARE_FOLDER.fullmatch(folder)):
        return None
    return f"{folder.lower()}_{last}" if slash else last


def _of_mac(last: str, agent: AgentClaim) -> DeviceFile | None:
    mac, end = last[:12], last[12:]
    form = _ENDS.get(end) or next((form for pattern, form in _OTHER_ENDS if pattern.fullmatch(end)), None)
    if form is None or not _MAC.fullmatch(mac):
        return None
    if mac != _ZERO:
        return DeviceFile("poly", form.kind, last, Mac(mac), form.upload, form.secret, form.media_type, agent)
    if form.kind not in _EVERYBODY:
        return None
    return DeviceFile("poly", form.kind, last, secret=False, media_type=form.media_type, agent=agent)
