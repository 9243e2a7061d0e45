"""The phone's end of TLS on the standard library's ssl: old or new as the persona is, with session resumption."""

from __future__ import annotations

import re
import ssl
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from provisioner.errors import Invalid, Unusable
from provisioner.simulator.phone import Flash, Phone
from provisioner.simulator.trust_stores import reason

_VERSIONS: Final = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


class ResumingContext(ssl.SSLContext):
    """asyncio has no argument for a session to resume, but it asks its context for every TLS object."""

    session: ssl.SSLSession | None = None

    def wrap_bio(  # as the standard library's
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session or self.session)


def client_context(phone: Phone, flash: Flash) -> ResumingContext:
    """The context of one phone. Invalid for a strange TLS version or cipher list, Unusable for bad PEM files."""
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    _limit(context, phone.tls_min or phone.persona.tls_min, phone.tls_max or phone.persona.tls_max)
    try:
        # Level 0: a phone never weighs its own certificate; it sends the 1024-bit one it was born with.
        context.set_ciphers(f"{phone.ciphers or 'DEFAULT'}:@SECLEVEL=0")
    except ssl.SSLError as error:
        raise Invalid("ciphers", f"OpenSSL knows none of {phone.ciphers!r}") from error
    context.check_hostname = phone.check_server and phone.check_name and phone.persona.sends_name
    context.verify_mode = ssl.CERT_REQUIRED if phone.check_server else ssl.CERT_NONE
    _load(context, phone, flash)
    return context


def _limit(context: ssl.SSLContext, lowest: str, highest: str) -> None:
    if lowest not in _VERSIONS or highest not in _VERSIONS:
        raise Invalid("tls", f"{lowest} to {highest} is no range of 1.0, 1.1, 1.2 and 1.3")
    if lowest > highest:
        raise Invalid(
            "tls", f"the lowest version would be {lowest}, as this phone has it, and the highest {highest}: give both, "
            "--tls-min and --tls-max",
        )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old phones speak old TLS
        context.minimum_version = _VERSIONS[lowest]
        context.maximum_version = _VERSIONS[highest]


def _load(context: ssl.SSLContext, phone: Phone, flash: Flash) -> None:
    with _reading(phone.trust, "certificates of CAs"):
        if phone.trust is not None:
            context.load_verify_locations(phone.trust)
        elif phone.check_server:
            context.load_default_certs()
    with _reading(None, "a certificate"):
        for pem in flash.certificates:
            context.load_verify_locations(cadata=pem)
    if phone.certificate is not None:
        with _reading(phone.certificate, f"a certificate and in {phone.key or phone.certificate} its key"):
            context.load_cert_chain(phone.certificate, phone.key, password=_no_password)


@contextmanager
def _reading(path: Path | None, what: str) -> Iterator[None]:
    """Name the file that cannot be used, and what was looked for."""
    where = path or "what a configuration brought"
    try:
        yield
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise Unusable(f"{where} must hold {what}: the key is another certificate's") from error
        raise Unusable(
            f"{where} must hold {what}, as PEM that OpenSSL takes ({error.reason or 'unreadable'})"
        ) from error
    except OSError as error:
        raise Unusable(f"{where} must hold {what}: {error.strerror}") from error


def _no_password() -> str:
    raise Unusable("the simulated phone's key is encrypted; give one without a password")


def describe_certificate(path: Path | None) -> str:
    """Subject and end of validity of the first certificate in the file."""
    if path is None:
        return ""
    try:
        leaf = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Unusable(f"{path} holds no PEM certificate that can be read{reason(error)}") from error
    subject = leaf.subject.rfc4514_string() or "(empty subject)"
    return f"{subject}, valid until {leaf.not_valid_after_utc:%Y-%m-%d}"


def readable_ca(text: str) -> str:
    """A CA certificate out of a configuration, as clean PEM; empty when there is none in it.

    An XML attribute loses its line breaks, and some files carry only the base64 between the dashes.
    """
    found = _PEM.search(text)
    digits = "".join((found[1] if found else text).split())
    pem = "\n".join(["-----BEGIN CERTIFICATE-----", *textwrap.wrap(digits, 64), "-----END CERTIFICATE-----", ""])
    try:
        return x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.PEM).decode()
    except ValueError:
        return ""
