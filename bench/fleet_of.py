"""An installation to measure: factories, phones with certificates of their own, and as many other devices as wanted."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import make_fleet

from provisioner import installation, pki, settings, trust
from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac, Scope
from provisioner.store.database import Store
from provisioner.vendors import drivers

MODELS = {"poly": "VVX 411", "yealink": "T46S"}
OUIS = {"poly": "64167f", "yealink": "001565"}
AGENTS = {
    "poly": "FileTransport PolycomVVX-VVX_411-UA/6.4.7.4560 (SN:{mac}) Type/Application",
    "yealink": "Yealink SIP-T46S 66.86.0.15 {mac}",
}
SHARED = {"sip.server": "sip.example.net", "time.zone": "Europe/Berlin"}


@dataclass(frozen=True)
class Phone:
    """One phone: where its certificate lies, and its boot as (file, status)."""

    vendor: str
    mac: Mac
    certificate: Path
    key: Path
    user_agent: str
    files: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Installation:
    """All of it."""

    data: Path
    phones: tuple[Phone, ...]
    trusted: bytes
    """Every CA that the server believes."""
    roots: bytes
    """Those above the phones here."""
    rsa: Path
    ec: Path
    ca: Path

    def of(self, vendor: str) -> list[Phone]:
        """One vendor's phones."""
        return [phone for phone in self.phones if phone.vendor == vendor]


def boot_of(vendor: str, mac: str) -> tuple[tuple[str, int], ...]:
    """The files of one boot, as the vendor's phones ask for them; 404 is part of it."""
    if vendor == "poly":
        return (
            (f"{mac}.cfg", 404),
            ("000000000000.cfg", 200),
            (f"{mac}-user.cfg", 200),
            (f"{mac}-phone.cfg", 404),
            (f"{mac}-web.cfg", 404),
            (f"{mac}-license.cfg", 404),
            ("000000000000-license.cfg", 404),
            (f"{mac}-directory.xml", 404),
        )
    return ((f"{mac}.boot", 200), ("y000000000066.cfg", 200), (f"{mac}.cfg", 200), (f"{mac}-local.cfg", 404))


def make(data: Path, number: int, *, devices: int = 0, vendors: Sequence[str] = ("poly", "yealink")) -> Installation:
    """Initialise DATA with ``number`` phones of each vendor that boot, in a database of about ``devices``.

    With other devices about, Poly phones are some of those, evenly spread: their rows are not neighbours on disk.
    """
    installation.init(data)
    if devices:
        make_fleet.make_fleet(data, devices, "poly", MODELS["poly"])
    phones: list[Phone] = []
    roots = b""
    for vendor in vendors:
        factory = pki.make_factory(vendor, data.parent / "factories" / vendor)
        trust.add(data, vendor, factory.cas_pem)
        roots += factory.root_pem.read_bytes()
        phones += _phones(data.parent, vendor, _macs(vendor, number, devices))
    others = {make_fleet.mac_of(n) for n in range(devices)} if devices else set()
    _unpin(data, [phone.mac for phone in phones if phone.mac in others])
    asyncio.run(_fill(data, phones, others))
    tls = data / "tls"
    bundle = trust.load(data).pem_bundle
    return Installation(
        data, tuple(phones), bundle, roots, tls / "server-rsa.pem", tls / "server-ec.pem", tls / "ca.pem"
    )


def _macs(vendor: str, number: int, devices: int) -> list[Mac]:
    if vendor == "poly" and devices >= number:
        return [make_fleet.mac_of(index * (devices // number)) for index in range(number)]
    return [Mac(f"{OUIS[vendor]}{index + 1:06x}") for index in range(number)]


def _phones(directory: Path, vendor: str, macs: Sequence[Mac]) -> list[Phone]:
    """Certificates as the factory burns them in; making RSA keys takes longest, so on all cores."""
    with ProcessPoolExecutor() as pool:
        files = list(pool.map(_burn_in, *zip(*((directory, vendor, mac) for mac in macs), strict=True)))
    return [
        Phone(vendor, mac, certificate, key, AGENTS[vendor].format(mac=mac), boot_of(vendor, mac))
        for mac, (certificate, key) in zip(macs, files, strict=True)
    ]


def _burn_in(directory: Path, vendor: str, mac: Mac) -> tuple[Path, Path]:
    """The phone sends its leaf and the issuing CA; policy and root are the server's to know."""
    leaf, key, above = pki.make_factory(vendor, directory / "factories" / vendor).leaf(mac)
    certificate, key_file = directory / f"{mac}.pem", directory / f"{mac}.key"
    end = b"-----END CERTIFICATE-----\n"
    certificate.write_bytes(leaf + above.partition(end)[0] + end)
    key_file.write_bytes(key)
    return certificate, key_file


def _unpin(data: Path, macs: Sequence[Mac]) -> None:
    """The bulk has pinned keys that nobody has."""
    with sqlite3.connect(data / "provisioner.db") as connection:
        connection.executemany("DELETE FROM pin WHERE mac = ?", [(str(mac),) for mac in macs])
    connection.close()


async def _fill(data: Path, phones: Sequence[Phone], others: set[Mac]) -> None:
    async with Store.of(settings.load(data)) as store:
        fleet = Fleet(store, {one.manifest.name: one for one in drivers()}, actor="bench")
        await fleet.set_layer(Scope.DEFAULTS, "", SHARED, {})
        account = await fleet.add_account("Bench")
        user = await fleet.add_user("Somebody", account=account.id)
        for index, phone in enumerate(phones):
            if phone.mac not in others:
                number = str(2000 + index)
                await fleet.add_device(phone.mac, vendor=phone.vendor, model=MODELS[phone.vendor], account=account.id)
                await fleet.add_extension(number, account=account.id, user=user.id, display_name="Somebody")
                await fleet.bind(phone.mac, 1, extension=number)
