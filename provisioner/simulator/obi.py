"""What an OBi or Poly ATA makes of its one XML file, in the long or the short spelling; each FXS port is a line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from provisioner.simulator.reading import Unreadable, neutral_transport, read_xml, server_text
from provisioner.simulator.report import RegisteredLine

_SHORT = {"O": "Object", "N": "Name", "P": "ParameterValueStruct", "V": "Value"}
_OBJECT = re.compile(r"[A-Za-z0-9_.-]{1,200}\.")
_HOTLINE = re.compile(r"<S[0-9]{1,2}:([0-9*#+]{1,40})>")
_SERVICE = re.compile(r"SP([1-9])\b")
_PROFILES = "ABCDEFGH"
_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no")


@dataclass(slots=True)
class Script:
    """A read file: values by full parameter name, names put back to their default, and whether all are reset first."""

    values: dict[str, str] = field(default_factory=dict, repr=False)
    defaults: set[str] = field(default_factory=set)
    reset: bool = False

    def applied_to(self, stored: Mapping[str, str]) -> dict[str, str]:
        """The unit's settings afterwards."""
        before = {} if self.reset else dict(stored)
        return {name: value for name, value in {**before, **self.values}.items() if name not in self.defaults}


def read_script(body: bytes) -> Script:
    """Read a ParameterList; Unreadable when there is none or an object's name is no object's."""
    reader = _Reader()
    read_xml(body, start=reader.start, end=reader.end, text=reader.text)
    if not reader.begun:
        raise Unreadable("no ParameterList element")
    return reader.script


class _Reader:
    """Follows the elements of either spelling."""

    def __init__(self) -> None:
        self.script = Script()
        self.begun = False
        self._open: list[str] = []
        self._object = ""
        self._name = ""
        self._value = ""
        self._default = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = _SHORT.get(tag, tag)
        self._open.append(tag)
        if tag == "ParameterList":
            self.begun = True
            self.script.reset = self.script.reset or attributes.get("X_Reset", "").lower() == "all"
        elif tag == "Object":
            self._object = ""
        elif tag == "ParameterValueStruct":
            self._name, self._value, self._default = "", "", False
        elif tag == "Value":
            asked = attributes.get("X_UseDefault") or attributes.get("X_UD") or ""
            self._default = asked.lower() in ("yes", "y")

    def text(self, text: str) -> None:
        if self._open[-2:] == ["Object", "Name"]:
            self._object += text
        elif self._open[-2:] == ["ParameterValueStruct", "Name"]:
            self._name += text
        elif self._open[-2:] == ["ParameterValueStruct", "Value"]:
            self._value += text

    def end(self, _: str) -> None:
        closed = self._open.pop()
        if closed != "ParameterValueStruct" or not self.begun:
            return
        place, name = self._object.strip(), self._name.strip()
        if not _OBJECT.fullmatch(place) or not name:
            raise Unreadable(f"a parameter {name[:40]!r} in the object {place[:40]!r}, which must end with a dot")
        # The last word on a parameter counts.
        if self._default:
            self.script.defaults.add(place + name)
            self.script.values.pop(place + name, None)
        else:
            self.script.defaults.discard(place + name)
            self.script.values[place + name] = self._value


def lines_of(parameters: Mapping[str, str], ports: int) -> tuple[tuple[RegisteredLine, ...], list[str]]:
    """One line for each FXS port whose service is enabled, and why others have none."""
    lines: list[RegisteredLine] = []
    why: list[str] = []
    for port in range(1, ports + 1):
        service = _service(parameters, port)
        line, reason = _line(parameters, port, service)
        lines += [line] if line is not None else []
        why += [f"port {port}: {reason}"] if reason else []
    return tuple(lines), why


def _service(parameters: Mapping[str, str], port: int) -> int:
    """The SIP service that a port's calls go out by; the one of its own number unless PrimaryLine says otherwise."""
    for place in ("X_FXS", "Phone"):
        told = parameters.get(f"VoiceService.1.{place}.{port}.PrimaryLine", "")
        if found := _SERVICE.search(told):
            return int(found[1])
    return port


def _line(parameters: Mapping[str, str], port: int, service: int) -> tuple[RegisteredLine | None, str]:
    own = f"VoiceService.1.VoiceProfile.1.Line.{service}."
    user = parameters.get(f"{own}SIP.AuthUserName", "")
    letter = parameters.get(f"{own}X_ServProvProfile", "A").strip().upper()
    if parameters.get(f"{own}Enable", "false" if not user else "true").lower() not in _TRUE:
        return None, f"service {service} is not enabled"
    if parameters.get(f"{own}X_RegisterEnable", "true").lower() in _FALSE:
        return None, f"service {service} is told not to register"
    if len(letter) != 1 or letter not in _PROFILES:
        return None, f"service {service} names the profile {letter!r}, which is none of A to H"
    profile = f"VoiceService.1.VoiceProfile.{_PROFILES.index(letter) + 1}.SIP."
    server = server_text(parameters.get(f"{profile}ProxyServer", ""), parameters.get(f"{profile}ProxyServerPort", ""))
    if not user or not server:
        return None, f"service {service} has no {'server' if user else 'AuthUserName'}"
    address = parameters.get(f"{own}SIP.URI", "").removeprefix("sip:").partition("@")[0]
    return RegisteredLine(
        number=port,
        user=address or user,
        auth_user=user,
        server=server,
        transport=neutral_transport(parameters.get(f"{profile}ProxyServerTransport") or "UDP"),
        display_name=parameters.get(f"{own}CallingFeatures.CallerIDName", ""),
        secret=parameters.get(f"{own}SIP.AuthPassword", ""),
        hotline=_hotline(parameters, port),
    ), ""


def _hotline(parameters: Mapping[str, str], port: int) -> str:
    """A rule of the port's digit map that begins with a pause in place of a key."""
    for place in ("X_FXS", "X_HS", "Phone"):
        if found := _HOTLINE.search(parameters.get(f"VoiceService.1.{place}.{port}.DigitMap", "")):
            return found[1]
    return ""
