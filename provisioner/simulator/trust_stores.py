"""How a model judges a server's certificate, as far as anybody has written it down: read from trust_stores.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from provisioner.errors import Unusable
from provisioner.simulator.persona import Persona, load_persona, same_model

NOT_KNOWN: Final = "not known"


@dataclass(frozen=True, slots=True)
class TrustStore:
    """What is known of a model; words where no machine could use more."""

    label: str = NOT_KNOWN
    """``source``, ``inferred`` or ``not known``."""
    source: str = ""
    roots: str = NOT_KNOWN
    count: int = 0
    """Built-in roots; 0 where that is not known."""
    names: str = NOT_KNOWN
    """Whether it compares the certificate's name with the URL's."""
    clock: str = ""
    doubtful: tuple[str, ...] = ()
    """Common names of roots that such phones often lack."""
    newest: str = NOT_KNOWN
    """Keys and hashes that it can verify with."""


def store_of(persona: Persona) -> TrustStore:
    """The first row of the table that fits; all of it unknown where none does."""
    for row in _rows():
        if _fits(row, persona):
            given: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
            }
            return TrustStore(**{name: given[name] for name in TrustStore.__slots__ if name in given})
    return TrustStore()


def _fits(row: Mapping[str, Any], persona: Persona) -> bool:
    if row["vendor"] != persona.vendor:
        return False
    if families := row.get("families"):
        return persona.family in families
    models = row.get("models")
    return models is None or any(same_model(one, persona.model) for one in models)


@cache
def _rows() -> tuple[Mapping[str, Any], ...]:
    text = files("provisioner.simulator").joinpath("trust_stores.toml").read_text(encoding="utf-8")
    rows = tuple(tomllib.loads(text)["store"])
    for row in rows:
        for model in row.get("models", ()):
            load_persona(row["vendor"], model)  # NotFound for a row about no phone
    return rows


def read_roots(path: Path) -> tuple[x509.Certificate, ...]:
    """Certificates of a PEM file; Unusable when there are none in it."""
    try:
        return tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise Unusable(f"{path} holds no PEM certificates that can be read{reason(error)}") from error


def reason(error: OSError | ValueError) -> str:
    """Of a file that there is no access to; what a library says of its format helps nobody."""
    return f": {error.strerror}" if isinstance(error, OSError) else ""
