"""What a Poly UCS phone makes of its files: attributes anywhere in the XML, and the first occurrence wins.

``device.*`` needs ``device.set="1"`` and a ``.set="1"`` twin each; a hole in the line numbers ends the lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr  # it only quotes text, it parses nothing

from provisioner.model import Mac
from provisioner.simulator.persona import Persona
from provisioner.simulator.reading import Unreadable, neutral_transport, read_xml, server_text
from provisioner.simulator.report import RegisteredLine

_LINE = re.compile(r"reg\.([1-9][0-9]{0,3})\.address")
_MACRO = re.compile(r"\[[A-Z_]+\]")


@dataclass(frozen=True, slots=True)
class Master:
    """What a master file points to; directories end in a slash or are empty."""

    config_files: tuple[str, ...]
    app_file: str = ""
    logs: str = ""
    overrides: str = ""
    contacts: str = ""
    licenses: str = ""


def read_master(body: bytes, persona: Persona, mac: Mac) -> Master:
    """Read APPLICATION and what APPLICATION_<MODEL> overrides in it; Unreadable when it has none."""
    general: dict[str, str] = {}
    special: dict[str, str] = {}
    suffix = f"_{persona.master_token}"

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "APPLICATION":
            found.append(tag)
        if tag in ("APPLICATION", f"APPLICATION{suffix}"):
            for name, value in attributes.items():
                target = special if name.endswith(suffix) else general
                target.setdefault(name.removesuffix(suffix), value)

    found: list[str] = []
    read_xml(body, start=start)
    if not found:
        raise Unreadable("a master file without an APPLICATION element")
    told = {**general, **special}
    names = (_fill(entry.strip(), persona, mac) for entry in told.get("CONFIG_FILES", "").split(","))
    return Master(
        tuple(name for name in names if name),
        _fill(told.get("APP_FILE_PATH", "").strip(), persona, mac),
        _directory(told.get("LOG_FILE_DIRECTORY", "")),
        _directory(told.get("OVERRIDES_DIRECTORY", "")),
        _directory(told.get("CONTACTS_DIRECTORY", "")),
        _directory(told.get("LICENSE_DIRECTORY", "")),
    )


def _fill(text: str, persona: Persona, mac: Mac) -> str:
    words = {
        "[PHONE_MAC_ADDRESS]": str(mac),
        "[MACADDRESS]": str(mac),  # [inferred], as the next two
        "[PHONE_MODEL]": persona.master_token,
        "[PHONE_PART_NUMBER]": persona.part,
    }
    return _MACRO.sub(lambda macro: words.get(macro[0], macro[0]), text)


def _directory(text: str) -> str:
    return f"{text.strip().rstrip('/')}/" if text.strip().rstrip("/") else ""


def read_config(body: bytes) -> dict[str, str]:
    """All attributes of all elements, the first occurrence of a name winning."""
    parameters: dict[str, str] = {}

    def start(_: str, attributes: dict[str, str]) -> None:
        for name, value in attributes.items():
            parameters.setdefault(name, value)

    read_xml(body, start=start)
    return parameters


def first_wins(files: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Files in order of precedence, the strongest first."""
    merged: dict[str, str] = {}
    for file in files:
        for name, value in file.items():
            merged.setdefault(name, value)
    return merged


def settle(merged: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """What takes effect, and what is ignored because its ``.set`` says nothing."""
    kept: dict[str, str] = {}
    ignored: list[str] = []
    armed = merged.get("device.set") == "1"
    for name, value in merged.items():
        if not name.startswith("device."):
            kept[name] = value
        elif name == "device.set" or name.endswith(".set"):
            continue
        elif armed and merged.get(f"{name}.set") == "1":
            kept[name] = value
        else:
            ignored.append(f"{name}: {f'{name}.set' if armed else 'device.set'} is not 1")
    return kept, ignored


def lines_of(parameters: Mapping[str, str], most: int) -> tuple[tuple[RegisteredLine, ...], list[str]]:
    """The lines it registers, from 1 to the first hole, and why others do not."""
    numbers = sorted(int(m[1]) for name, value in parameters.items() if value and (m := _LINE.fullmatch(name)))
    lines: list[RegisteredLine] = []
    why: list[str] = []
    for place, number in enumerate(numbers, start=1):
        if number != place:
            why.append(f"reg.{number} is not registered: reg.{place}.address is missing")
            break
        if number > most:
            why.append(f"reg.{number} is not registered: the model has {most} lines")
            break
        line = _line(parameters, number)
        if not line.server:
            why.append(f"reg.{number} is not registered: it has no server")
        elif parameters.get(f"reg.{number}.server.1.register", "1") == "0":
            why.append(f"reg.{number} is not registered: reg.{number}.server.1.register is 0")
        else:
            lines.append(line)
    if not numbers:
        why.append("reg.1.address is missing")
    return tuple(lines), why


def _line(parameters: Mapping[str, str], number: int) -> RegisteredLine:
    def own(name: str) -> str:
        return parameters.get(f"reg.{number}.{name}", "")

    hotline = parameters.get(f"call.autoOffHook.{number}.contact", "")

    def server(place: int) -> str:
        found = server_text(own(f"server.{place}.address"), own(f"server.{place}.port"))
        shared = f"voIpProt.server.{place}"
        return found or server_text(parameters.get(f"{shared}.address", ""), parameters.get(f"{shared}.port", ""))

    return RegisteredLine(
        number=number,
        user=own("address"),
        auth_user=own("auth.userId") or own("address"),
        server=server(1),
        transport=neutral_transport(
            own("server.1.transport") or parameters.get("voIpProt.server.1.transport", "DNSnaptr")
        ),
        display_name=own("displayName"),
        backup=server(2),
        secret=own("auth.password"),
        label=own("label"),
        hotline=hotline if parameters.get(f"call.autoOffHook.{number}.enabled") == "1" else "",
    )


def provisioning_url(parameters: Mapping[str, str]) -> str:
    """Where the configuration sends the phone from now on; empty when it does not say."""
    name = parameters.get("device.prov.serverName", "")
    if not name or "://" in name:
        return name
    kind = parameters.get("device.prov.serverType", "").upper()
    scheme = {"2": "http", "HTTP": "http", "3": "https", "HTTPS": "https"}.get(kind)
    return f"{scheme}://{name}" if scheme else ""


def config_text(root: str, values: Mapping[str, str]) -> bytes:
    """``<root name="value" …/>``, names in order."""
    attributes = "".join(f"\n  {name}={quoteattr(value)}" for name, value in sorted(values.items()))
    return f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<{root}{attributes}/>\n'.encode()
