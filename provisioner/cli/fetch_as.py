"""`provisioner fetch-as`: ask a server as one phone would, and be told what that phone would make of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from cryptography import x509

from provisioner.cli.session import (
    OK,
    REFUSED,
    Failed,
    Verb,
    device_url,
    open_fleet,
    password_of,
    session,
    with_password,
)
from provisioner.errors import Invalid, NotFound, Unusable
from provisioner.installation import ca_file
from provisioner.model import Mac
from provisioner.simulator.chain import Eyes
from provisioner.simulator.fetch_as import FetchReport, fetch_as_now
from provisioner.simulator.fetch_words import as_text
from provisioner.simulator.persona import Persona, load_persona, personas
from provisioner.simulator.phone import Phone
from provisioner.simulator.presented import NoTls, Unreachable
from provisioner.simulator.trust_stores import TrustStore, read_roots, store_of

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
UNREACHED, NO_TLS, NOT_SERVED = 4, 5, 6
"""Exit codes beside those of every command."""
_FIRST: Final = {"poly": "0004f2000000", "yealink": "001565000000"}
"""A Mac of each maker that is nobody's, for who names only a model."""
_KEYS: Final = ("RSA", "EC", "EdDSA")


@click.command("fetch-as", cls=Verb)
@click.argument("phone", metavar="MAC|MODEL")
@click.argument("url", required=False, default="")
@click.option("--model", default="", metavar="MODEL", help="Of a MAC that this installation does not know.")
@click.option("--mac", default="", metavar="MAC", help="Of a phone that is given by its model.")
@click.option("--vendor", default="", metavar="VENDOR", help="poly or yealink, where a model's name leaves it open.")
@click.option("--roots", type=FILE, multiple=True, help="PEM: all that the phone trusts; may be given again.")
@click.option("--trust-our-ca", is_flag=True, help="It trusts this installation's CA, beside what it has built in.")
@click.option("--check-name/--no-check-name", default=None, help="Whether it compares names.  [default: not known]")
@click.option("--knows-key", "keys", multiple=True, type=click.Choice(_KEYS), help="Kinds of keys it can verify.")
@click.option("--knows-hash", "hashes", multiple=True, metavar="HASH", help="sha1, sha256, ...: those it can verify.")
@click.option("--rsa-bits", type=click.IntRange(512, 16384), default=None, help="The largest RSA key it can verify.")
@click.option("--clock", default="", metavar="DATE", help="What its clock says, 2020-01-31.  [default: now]")
@click.option("--cert", type=FILE, help="Its certificate, PEM, with the chain it sends.")
@click.option("--key", type=FILE, help="The certificate's key, PEM.")
@click.option("--user", default="", metavar="NAME", help="HTTP Digest user; its password on stdin or at a prompt.")
@with_password
@click.option("--firmware", default="", metavar="VERSION", help="Version it says it runs.")
@click.option("--tls-min", default="", metavar="VERSION", help="1.0, 1.1, 1.2 or 1.3.")
@click.option("--tls-max", default="", metavar="VERSION", help="1.0, 1.1, 1.2 or 1.3.")
@click.option("--ciphers", default="", metavar="LIST", help="OpenSSL's list of suites for TLS 1.2 and older.")
@click.option("--address", default="", metavar="IP", help="Connect there in place of the URL's host.")
@click.option("--anyway", is_flag=True, help="Go on where the phone would have refused the certificate.")
def fetch_as(phone: str, url: str, **given: object) -> None:
    """Fetch as one phone would: its files in its order, and its verdict on the server's certificate.

    MAC is a device of this installation, or any with --model. Without URL: where this installation's phones fetch.
    Nothing is uploaded. Exit code 0 when the phone would be served, 1 when it refuses the server's certificate or may
    do so, 2 wrong usage, 4 when there is no connection, 5 no TLS session, 6 when the server does not serve it.
    """
    asked = _Asked(**given)  # type: ignore[arg-type]  # click has typed each option
    made = asked.phone(phone)
    try:
        eyes, at = asked.eyes(store_of(made.persona)), asked.now()
        report = fetch_as_now(
            made, url or device_url(session().settings()), eyes, at, pool=_pool(), anyway=asked.anyway
        )
    except Unreachable as error:
        raise _told(error, UNREACHED) from error
    except NoTls as error:
        raise _told(error, NO_TLS) from error
    except Invalid as error:
        raise click.UsageError(error.cause) from error
    click.echo(_json(report) if session().as_json else as_text(report))
    click.get_current_context().exit(_exit_code(report))


def _told(error: Unreachable | NoTls, code: int) -> Failed:
    class Ended(Failed):
        exit_code = code

    return Ended(error, session().as_json)


def _exit_code(report: FetchReport) -> int:
    if not report.trusted:
        return REFUSED
    return NOT_SERVED if report.ends else OK


class _Asked:
    """What the command was told."""

    def __init__(
        self, *, model: str, mac: str, vendor: str, roots: tuple[Path, ...], trust_our_ca: bool,
        check_name: bool | None, keys: tuple[str, ...], hashes: tuple[str, ...], rsa_bits: int | None, clock: str,
        cert: Path | None, key: Path | None, anyway: bool, password_stdin: bool, ask_password: bool, **habits: str,
    ) -> None:  # fmt: skip
        self._model, self._mac, self._vendor = model, mac, vendor
        self._roots, self._ours = roots, trust_our_ca
        self._checks_name, self._keys, self._hashes, self._rsa_bits = check_name, keys, hashes, rsa_bits
        self._clock, self._cert, self._key, self._habits = clock, cert, key, habits
        self.anyway = anyway
        self._habits["password"] = password_of(from_stdin=password_stdin, ask=ask_password)

    def phone(self, word: str) -> Phone:
        """Which phone; wrong usage where the words name none."""
        try:
            mac = Mac.parse(word)
        except Invalid:
            persona = self._persona(self._vendor, word)
            return self._made(persona, self._own_mac(persona))
        if self._mac:
            raise click.UsageError("--mac is for a phone that is given by its model")
        vendor, model = (self._vendor, self._model) if self._model else _known(mac)
        return self._made(self._persona(vendor, model), mac)

    def _persona(self, vendor: str, model: str) -> Persona:
        makers = [vendor] if vendor else list(dict.fromkeys(one.vendor for one in personas()))
        found = [persona for maker in makers if (persona := _loaded(maker, model)) is not None]
        if len(found) != 1:
            what = "several makers have one: give --vendor" if found else "a MAC has 12 hex digits, a model a name"
            raise click.UsageError(f"{model!r} is neither a MAC nor a model that is known here ({what})")
        return found[0]

    def _own_mac(self, persona: Persona) -> Mac:
        try:
            return Mac.parse(self._mac or _FIRST[persona.vendor])
        except Invalid as error:
            raise click.UsageError(f"--mac: {error.why}") from error

    def _made(self, persona: Persona, mac: Mac) -> Phone:
        try:
            return Phone(persona=persona, mac=mac, certificate=self._cert, key=self._key, **self._habits)  # type: ignore[arg-type]  # click has typed each option
        except Invalid as error:
            raise click.UsageError(f"--{error.field}: {error.why}") from error

    def eyes(self, store: TrustStore) -> Eyes:
        """What the phone judges with, as far as it was said or is known."""
        own = _own_ca()
        if self._ours and not own:
            raise Unusable(f"{ca_file(session().data)} is not there: this installation has no CA of its own")
        roots = [one for path in self._roots for one in read_roots(path)]
        return Eyes(
            roots=(*roots, *(own if self._ours else ())),
            complete=bool(self._roots),
            never=() if self._ours else own,
            doubtful=store.doubtful,
            checks_name=self._checks_name,
            keys=frozenset(self._keys),
            hashes=frozenset(one.lower().replace("-", "") for one in self._hashes),
            rsa_bits=self._rsa_bits or 0,
        )

    def now(self) -> float:
        """What the phone's clock says."""
        if not self._clock:
            return time.time()
        try:
            said = datetime.fromisoformat(self._clock)
            return (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp()
        except ValueError as error:
            raise click.UsageError(f"--clock: {self._clock!r} is no date such as 2020-01-31") from error


def _loaded(vendor: str, model: str) -> Persona | None:
    try:
        return load_persona(vendor, model)
    except NotFound:
        return None


def _known(mac: Mac) -> tuple[str, str]:
    """Vendor and model of a device of this installation."""

    async def look() -> tuple[str, str]:
        async with open_fleet(session().settings()) as fleet:
            device = await fleet.device(mac)
            return device.vendor, device.model

    try:
        return asyncio.run(look())
    except (NotFound, Unusable) as error:
        raise click.UsageError(f"{error.cause}; --model says which phone {mac.colons} is") from error


def _own_ca() -> tuple[x509.Certificate, ...]:
    path = ca_file(session().data)
    return read_roots(path) if path.is_file() else ()


def _pool() -> Sequence[x509.Certificate]:
    """CAs of this installation: with them a missing intermediate is told from a strange root."""
    return tuple(_pooled(session().data))


def _pooled(data: Path) -> Iterator[x509.Certificate]:
    yield from _own_ca()
    for path in sorted((data / "tls").glob("*.pem")):
        try:
            yield from x509.load_pem_x509_certificates(path.read_bytes())[1:]
        except (OSError, ValueError):
            continue  # a key, or another's file: it can only help


def _json(report: FetchReport) -> str:
    told = asdict(replace(report, store=report.store))
    told["served"] = report.trusted and not report.ends
    return json.dumps(told, indent=2, ensure_ascii=False)
