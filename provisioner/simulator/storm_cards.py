"""What a process knows of its phones: personas, and the TLS contexts that carry their certificates.

A context costs 28 KiB and a millisecond, most of it for the key; they are made before the storm, not in it.
"""

from __future__ import annotations

import ssl
import warnings
from functools import cache
from pathlib import Path
from typing import Final

from provisioner.errors import Invalid, Unusable
from provisioner.simulator.persona import Persona, load_persona
from provisioner.simulator.storm_plan import StormPhone

KEPT: Final = 5000
"""Certificates a process holds ready; beyond it they are read when they are needed."""
_VERSIONS: Final = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


class Cards:
    """The certificates of a process's phones."""

    def __init__(self, trust: Path | None) -> None:
        self._trust = trust
        self._kept: dict[str, ssl.SSLContext] = {}

    def card(self, phone: StormPhone) -> ssl.SSLContext:
        """With the phone's certificate; Unusable when its files cannot be used."""
        if (kept := self._kept.get(phone.mac)) is not None:
            return kept
        made = self._context(persona_of(phone))
        try:
            made.load_cert_chain(phone.certificate, phone.key, password=_no_password)
        except OSError as error:  # ssl.SSLError is one
            raise Unusable(f"{phone.certificate} and its key cannot be used: {error}") from error
        if len(self._kept) < KEPT:
            self._kept[phone.mac] = made
        return made

    def _context(self, persona: Persona) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # old phones speak old TLS
            made.minimum_version, made.maximum_version = _VERSIONS[persona.tls_min], _VERSIONS[persona.tls_max]
        made.set_ciphers("DEFAULT:@SECLEVEL=0")  # a phone never weighs its own certificate
        made.check_hostname = self._trust is not None and persona.sends_name
        made.verify_mode = ssl.CERT_NONE if self._trust is None else ssl.CERT_REQUIRED
        if self._trust is not None:
            try:
                made.load_verify_locations(self._trust)
            except OSError as error:
                raise Unusable(f"{self._trust} holds no CA that can be read: {error}") from error
        return made

    def names_server(self, phone: StormPhone) -> bool:
        """Whether it sends SNI."""
        return persona_of(phone).sends_name

    def patience_of(self, phone: StormPhone) -> float:
        """Longest wait for one whole answer, once the server has begun to answer."""
        return persona_of(phone).patience


@cache
def _persona(vendor: str, model: str) -> Persona:
    return load_persona(vendor, model)


def persona_of(phone: StormPhone) -> Persona:
    """What its model does on the wire; NotFound for a model that is not in the table."""
    return _persona(phone.vendor, phone.model)


def check_models(phones: tuple[StormPhone, ...]) -> None:
    """Invalid when nobody could be played, before any process is begun."""
    if not phones:
        raise Invalid("phones", "a storm takes at least one phone")
    for vendor, model in {(one.vendor, one.model) for one in phones}:
        if not model:
            raise Invalid("model", f"a {vendor} phone has none")
        _persona(vendor, model)


def _no_password() -> str:
    raise Unusable("a phone's key is encrypted; give one without a password")
