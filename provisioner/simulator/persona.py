"""A persona is what a model does on the wire, read from personas.toml and from nothing of the server's own."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cache
from importlib.resources import files

from provisioner.errors import Invalid, NotFound, Unusable
from provisioner.model import Mac

_NOT_ALNUM = re.compile(r"[^a-z0-9]+")
_MAKERS = re.compile(r"^(?:yealink|polycom|poly|obihai)?(?:sip(?=[a-z]))?")


class Sequence(StrEnum):
    """Which order of requests a model walks."""

    UCS = "poly_ucs"
    OBI = "poly_obi"
    YEALINK = "yealink"


@dataclass(frozen=True, slots=True)
class Persona:
    """One model as it behaves towards a server. Times are in seconds."""

    vendor: str
    model: str
    sequence: Sequence
    agent: str
    """User-Agent with ``{token}``, ``{firmware}``, ``{serial}``, ``{role}``, ``{mac}``."""
    firmware: str = ""
    updater: str = ""
    """Poly: version of the updater that walks before the application."""
    token: str = ""
    """The model's spelling in its User-Agent."""
    code: str = ""
    """Yealink: NN of y0000000000NN.cfg."""
    part: str = ""
    """Poly: part number in the name of its firmware image."""
    lines: int = 1
    mac_form: str = "colons"
    """Yealink: ``colons``, ``bare`` or ``none`` in the User-Agent."""
    patience: float = 30.0
    """Longest wait for one whole answer."""
    attempts: int = 3
    retry_delay: float = 5.0
    tls_min: str = "1.2"
    tls_max: str = "1.2"
    sends_name: bool = True
    """Whether it sends SNI."""
    digests: tuple[str, ...] = ("MD5",)
    """Digest algorithms it can answer."""
    family: str = ""
    """Which habits of the table it has."""

    @property
    def master_token(self) -> str:
        """Poly: suffix of APPLICATION_<MODEL> in a master file, ``VVX411`` for the token ``VVX_411``."""
        return self.token.replace("_", "")

    def release(self, firmware: str = "") -> int:
        """Yealink: the second field of the version, 86 of 66.86.0.20; 0 when it has none."""
        parts = (firmware or self.firmware).split(".")
        return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0

    def user_agent(self, mac: Mac, *, firmware: str = "", role: str = "Application", serial: bool = False) -> str:
        """The header value; ``serial`` is Poly's tagSerialNo, for Yealink whether the MAC is told."""
        told = {"colons": mac.colons, "bare": str(mac)}.get(self.mac_form, "")
        text = self.agent.format(
            token=self.token,
            firmware=firmware or self.firmware,
            role=role,
            serial=f" (SN:{mac})" if serial else "",
            mac=told if serial else "",
        )
        return text.rstrip()


def load_persona(vendor: str, model: str) -> Persona:
    """The persona of a model in the table, spelling forgiven (``VVX 411`` = ``vvx_411``); NotFound otherwise."""
    found = _index().get((vendor.lower(), _key(model)))
    if found is None:
        raise NotFound(f"the simulator has no persona for {vendor} {model!r}; give its family and code instead")
    return found


def make_persona(
    vendor: str,
    model: str,
    *,
    family: str = "",
    code: str = "",
    part: str = "",
    lines: int = 0,
    firmware: str = "",
) -> Persona:
    """A persona for a model outside the table, from its family's habits and the facts given."""
    family = family or {"poly": "ucs", "yealink": "yealink"}.get(vendor.lower(), "")
    template = _table().families.get(family)
    if template is None or template.vendor != vendor.lower():
        known = ", ".join(name for name, persona in _table().families.items() if persona.vendor == vendor.lower())
        raise Invalid("family", f"{family!r} is not a family of {vendor!r}; known: {known or 'none'}")
    if template.sequence is Sequence.YEALINK and not code.isdigit():
        raise Invalid("code", "a Yealink needs the number in its y0000000000NN.cfg")
    return replace(
        template,
        model=model,
        token=f"SIP-{model}" if template.sequence is Sequence.YEALINK else model.replace(" ", "_"),
        code=code,
        part=part,
        lines=lines or template.lines,
        firmware=_firmware(template, code, firmware),
    )


def personas() -> tuple[Persona, ...]:
    """All of the table, in its order."""
    return _table().rows


@dataclass(frozen=True, slots=True)
class _Table:
    families: Mapping[str, Persona]
    rows: tuple[Persona, ...]


def same_model(one: str, other: str) -> bool:
    """Whether both spellings mean one model."""
    return _key(one) == _key(other)


def _key(model: str) -> str:
    return _MAKERS.sub("", _NOT_ALNUM.sub("", model.lower()))


@cache
def _index() -> Mapping[tuple[str, str], Persona]:
    index: dict[tuple[str, str], Persona] = {}
    for persona in _table().rows:
        index[persona.vendor, _key(persona.token)] = persona
        index[persona.vendor, _key(persona.model)] = persona
    return index


@cache
def _table() -> _Table:
    text = files("provisioner.simulator").joinpath("personas.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)
    families = {name: _persona({"model": "", "family": name, **row}) for name, row in document["family"].items()}
    return _Table(families, tuple(_row(families, row) for row in document["persona"]))


def _row(families: Mapping[str, Persona], row: dict[str, object]) -> Persona:
    template = families[str(row.pop("family"))]
    rom = str(row.pop("rom", row.get("code", "")))
    model = str(row["model"])
    token = f"SIP-{model}" if template.sequence is Sequence.YEALINK else model.replace(" ", "_")
    own = {"token": token, "firmware": _firmware(template, rom, ""), **row}
    inherited = {field.name: getattr(template, field.name) for field in fields(Persona)}
    return _persona({**inherited, **own})


def _firmware(template: Persona, rom: str, given: str) -> str:
    """A Yealink's version begins with its hardware family, which is mostly the model's code."""
    if given or template.sequence is not Sequence.YEALINK:
        return given or template.firmware
    return f"{rom}.{template.firmware}"


def _persona(row: Mapping[str, object]) -> Persona:
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    try:
        values["sequence"] = Sequence(str(values["sequence"]))
        return Persona(**values)  # type: ignore[arg-type]  # the shipped table's own types, proven by the tests
    except (TypeError, ValueError, KeyError) as error:
        raise Unusable(f"personas.toml: {row.get('model')!r}: {error}") from error
