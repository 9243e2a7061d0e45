"""What a Yealink makes of its files: ``key = value`` under a version line, and the last occurrence wins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from provisioner.simulator.reading import Unreadable, neutral_transport, server_text
from provisioner.simulator.report import RegisteredLine

HEADER: Final = "#!version:1.0.0.1"
NULL: Final = "%NULL%"
_INCLUDE = re.compile(r'include:config\s*(?:"([^"]+)"|<([^>]+)>)')
_PAIR = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.\-]*)\s*=\s*(.*)")
_ACCOUNT = re.compile(r"account\.([1-9][0-9]{0,3})\.enable")
# One value for each user of the phone: a later line for another user does not replace the first.
_PER_USER: Final = ("security.user_password", "security.user_name")


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot file: what it includes, in order, and whether what the files leave out goes back to its default."""

    includes: tuple[str, ...]
    overwrite: bool
    odd: tuple[str, ...] = ()


def _lines(body: bytes) -> list[str]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8: {error.reason} at byte {error.start}") from error
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != HEADER:
        raise Unreadable(f"the first line is not {HEADER}")
    return [line.strip() for line in lines[1:] if line.strip() and not line.lstrip().startswith("#")]


def read_config(body: bytes) -> tuple[list[tuple[str, str]], list[str]]:
    """The pairs in order, and the lines that are none; Unreadable without the version line."""
    pairs: list[tuple[str, str]] = []
    odd: list[str] = []
    for line in _lines(body):
        if match := _PAIR.fullmatch(line):
            pairs.append((match[1], match[2].strip()))
        else:
            odd.append(line[:60])
    return pairs, odd


def read_boot(body: bytes) -> Boot:
    """A boot file's includes and switches; targets that do not end in ``.cfg`` are left out."""
    includes: list[str] = []
    odd: list[str] = []
    overwrite = False
    for line in _lines(body):
        match = _INCLUDE.fullmatch(line)
        target = (match[1] or match[2]).strip() if match else ""
        pair = _PAIR.fullmatch(line)
        if target.endswith(".cfg"):
            includes.append(target)
        elif pair and pair[1] == "overwrite_mode" and pair[2] in ("0", "1"):
            overwrite = pair[2] == "1"
        elif not (pair and pair[1].startswith("specific_model.")):
            odd.append(line[:60])
    return Boot(tuple(includes), overwrite, tuple(odd))


def last_wins(files: Iterable[Sequence[tuple[str, str]]]) -> dict[str, str]:
    """Files in the order they are applied; ``%NULL%`` stays as a value that says "default"."""
    merged: dict[str, str] = {}
    for file in files:
        for name, value in file:
            user = value.partition(":")[0] if name.removeprefix("static.") in _PER_USER and ":" in value else ""
            merged[f"{name} ({user})" if user else name] = value
    return merged


def settle(told: Mapping[str, str], stored: Mapping[str, str], *, overwrite: bool) -> dict[str, str]:
    """The phone's settings afterwards. Blank resets only under overwrite_mode 1, ``%NULL%`` always."""
    settings = {} if overwrite else dict(stored)
    for name, value in told.items():
        if value == NULL:
            settings.pop(name, None)
        elif value:
            settings[name] = value
    return settings


def heeded(told: Mapping[str, str], release: int) -> tuple[dict[str, str], list[str]]:
    """What this release knows: up to 80 there is no ``static.`` prefix."""
    if release > 80:
        return dict(told), []
    kept = {name: value for name, value in told.items() if not name.startswith("static.")}
    return kept, [f"{name}: release {release} has no static. names" for name in told if name not in kept]


def lines_of(parameters: Mapping[str, str], most: int) -> tuple[tuple[RegisteredLine, ...], list[str]]:
    """The enabled accounts that have a user and a server, and why others do not register."""
    numbers = sorted(
        int(match[1]) for name, value in parameters.items() if value == "1" and (match := _ACCOUNT.fullmatch(name))
    )
    lines: list[RegisteredLine] = []
    why: list[str] = [] if numbers else ["no account is enabled"]
    for number in numbers:
        line = _line(parameters, number)
        if number > most:
            why.append(f"account {number} is not registered: the model has {most}")
        elif not line.user or not line.server:
            why.append(f"account {number} is not registered: it has no {'server' if line.user else 'user_name'}")
        else:
            lines.append(line)
    return tuple(lines), why


def _line(parameters: Mapping[str, str], number: int) -> RegisteredLine:
    account = f"account.{number}."
    template = parameters.get(f"{account}sip_server.template", "")
    # DECT bases keep servers in templates that several accounts share.
    holder = f"template.{template}." if template else account

    def server(place: int) -> str:
        return server_text(
            parameters.get(f"{holder}sip_server.{place}.address", ""),
            parameters.get(f"{holder}sip_server.{place}.port", ""),
        )

    old = server_text(parameters.get(f"{account}sip_server_host", ""), parameters.get(f"{account}sip_server_port", ""))
    transport = parameters.get(f"{holder}sip_server.1.transport_type") or parameters.get(f"{account}transport", "0")
    return RegisteredLine(
        number=number,
        user=parameters.get(f"{account}user_name", ""),
        auth_user=parameters.get(f"{account}auth_name", "") or parameters.get(f"{account}user_name", ""),
        server=server(1) or old,
        transport=neutral_transport(transport),
        display_name=parameters.get(f"{account}display_name", ""),
        backup=server(2),
        secret=parameters.get(f"{account}password", ""),
        label=parameters.get(f"{account}label", ""),
        hotline=parameters.get("features.hotline_number", "") if number == 1 else "",
    )


def config_text(values: Mapping[str, str]) -> bytes:
    """What the phone uploads: the version line and its pairs in order."""
    pairs = "".join(f"{name} = {value}\n" for name, value in sorted(values.items()))
    return f"{HEADER}\n{pairs}".encode()
