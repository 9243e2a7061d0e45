"""The contract of a vendor package: four verbs and a manifest; the models are data, read from models.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from provisioner.errors import Unusable
from provisioner.model import DeviceFile, FactoryName, Model, PeerCert, ResolvedConfig


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a vendor package says of itself, all of it data."""

    name: str
    """Lower-case word used everywhere: ``poly``."""
    title: str
    ouis: frozenset[str]
    """First six hex digits of its Macs, a hint for dispatch, never a proof."""
    models: Mapping[str, Model]
    files: Mapping[str, tuple[str, ...]]
    """Dialect -> names a device of it asks for, in boot order; ``{mac}``, ``{code}``, ``{part}`` stand for its own."""
    min_key_bits: int = 2048
    """Smallest RSA key a leaf of this vendor may have on a modern listener."""
    languages: tuple[str, ...] = ()
    """Language tags its phones have; empty where that is not known."""
    ceilings: Mapping[str, int] = field(default_factory=dict)
    """Neutral settings whose highest value on its phones is lower than the setting's own; renders take no more."""

    def speaks(self, tag: str) -> bool:
        """Whether its phones have the language: the tag itself, or the language without its country."""
        return not self.languages or tag in self.languages or tag.partition("-")[0] in self.languages


class VendorDriver(Protocol):
    """Four verbs for devices, and a check of what administrators write in the vendor's own words.

    A driver keeps no state between calls that could be seen in its answers, and does no I/O beyond its own templates.
    """

    @property
    def manifest(self) -> Manifest:
        """The vendor's data."""

    def identify(self, cert: PeerCert) -> FactoryName:
        """Take the Mac out of a leaf whose chain is already proven to end at this vendor's anchor."""

    def match(self, path: str, user_agent: str) -> DeviceFile | None:
        """Say which file a clean relative path means, or None when the name is not this vendor's."""

    def render(self, file: DeviceFile, config: ResolvedConfig) -> bytes:
        """The file's bytes, identical for identical input.

        NoSuchFile when this model has no such file; RenderFailed when a value or template is bad.
        """

    def resync_event(self, model: Model, reboot: bool) -> str:
        """The SIP NOTIFY Event header value that makes the device fetch again."""

    def check_raw(self, name: str, value: str) -> None:
        """Invalid when a raw parameter could not stand in this vendor's files as it is."""


def model_named(manifest: Manifest, text: str) -> Model | None:
    """A model by its name as people write it: case, blanks, dashes, underscores and a leading ``SIP-`` do not count."""
    exact = manifest.models.get(text)
    if exact is not None:
        return exact
    wanted = _plain(text)
    found = [model for name, model in manifest.models.items() if _plain(name) == wanted]
    return found[0] if len(found) == 1 else None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower().removeprefix("sip")


@lru_cache(8)  # they ship with the program, and every process makes drivers more than once
def load_models(vendor: str, path: Path) -> Mapping[str, Model]:
    """Read ``[defaults.<family>]`` tables and ``[[model]]`` rows; a row names its family and overrides it.

    Unusable on an unknown field, a doubled name or a missing one: a typo must not become a phone.
    """
    known = {f.name for f in fields(Model)}
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    families: dict[str, dict[str, object]] = document.get("defaults", {})
    models: dict[str, Model] = {}
    for row in document.get("model", []):
        merged = {**families.get(row.get("family", ""), {}), **row}
        name = merged.get("name", "")
        if unknown := sorted(set(merged) - known):
            raise Unusable(f"{path}: model {name!r} has unknown fields {', '.join(unknown)}")
        if name in models:
            raise Unusable(f"{path}: model {name!r} stands twice")
        models[name] = _model(vendor, path, merged)
    return MappingProxyType(models)


def _model(vendor: str, path: Path, row: Mapping[str, object]) -> Model:
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    if isinstance(refuses := plain.get("refuses"), dict):
        plain["refuses"] = MappingProxyType(refuses)
    try:
        return Model(vendor=vendor, **plain)  # type: ignore[arg-type]  # the field names were checked above
    except TypeError as error:
        raise Unusable(f"{path}: model {row.get('name')!r}: {error}") from error


@lru_cache(1024)  # a fleet runs a few dozen versions
def older(version: str, floor: str) -> bool:
    """Whether a dotted firmware version is below another; parts compare as numbers, missing ones as 0."""
    ours, floors = _parts(version), _parts(floor)
    width = max(len(ours), len(floors))
    return ours + (0,) * (width - len(ours)) < floors + (0,) * (width - len(floors))


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else 0 for part in version.split("."))
