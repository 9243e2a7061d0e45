"""The Mac in a Poly leaf: CN is twelve hex digits in upper case; whatever else it says is kept as a note.

Seen on SoundPoint and VVX: ``CN=0004F28B54F4, O=Polycom Inc.``. What OBi and ATA leaves look like is not published;
the one inferred rule for them (CN with separators) is noted when used. A name nowhere but in CN counts for nothing.
"""

from __future__ import annotations

import re
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from provisioner.errors import Invalid
from provisioner.model import FactoryName, Mac

ORGANISATION: Final = "Polycom Inc."
_WANTED: Final = (NameOID.COMMON_NAME, NameOID.SERIAL_NUMBER, NameOID.ORGANIZATION_NAME)
_HEX: Final = re.compile(r"[0-9A-Fa-f]{12}")
_SEPARATED: Final = re.compile(r"[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}")


def read(leaf: bytes) -> FactoryName:
    """What the leaf says; without a Mac it is a certificate that many devices share."""
    try:
        subject = x509.load_der_x509_certificate(leaf).subject
        names, serials, makers = (_texts(subject, oid) for oid in _WANTED)
    except ValueError as error:
        return FactoryName(None, note=f"the subject cannot be read: {type(error).__name__}")
    serial = serials[0] if len(serials) == 1 else ""
    mac, note = _mac(names)
    if makers != [ORGANISATION]:
        note = "; ".join(filter(None, [note, f"O is not {ORGANISATION!r}"]))
    return FactoryName(mac, serial[:64], note)


def _texts(subject: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [value for one in subject.get_attributes_for_oid(oid) if isinstance(value := one.value, str)]


def _mac(names: list[str]) -> tuple[Mac | None, str]:
    if len(names) > 1:
        return None, "more than one CN"
    name = names[0] if names else ""
    if _HEX.fullmatch(name):
        return _parse(name, "" if name == name.upper() else "CN in lower case")
    if _SEPARATED.fullmatch(name):
        return _parse(name, "inferred: CN with separators")
    return None, "no Mac in CN: shared by many devices"


def _parse(text: str, note: str) -> tuple[Mac | None, str]:
    try:
        return Mac.parse(text), note
    except Invalid:
        return None, "CN is all zeros"
