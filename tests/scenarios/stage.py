"""What the scenarios share: simulated phones of a House, waiting with an end, and a look at everything it wrote."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import ssl
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from house import SECRET, House, administer, soon

from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac, Scope
from provisioner.simulator import Flash, Phone, boot, load_persona
from provisioner.simulator.persona import Persona
from provisioner.simulator.report import BootReport

CURVE = ec.SECP256R1()


def add(house: House, *devices: tuple[str, str, str, str]) -> None:
    """Devices of (mac, vendor, model, number), each with a SIP server, a user and a secret that name it alone."""

    async def fill(fleet: Fleet) -> None:
        accounts = await fleet.accounts()
        account = accounts[0].id if accounts else (await fleet.add_account("Acme")).id
        for mac, vendor, model, number in devices:
            await fleet.add_device(Mac(mac), vendor=vendor, model=model, account=account)
            if number:
                await fleet.set_layer(Scope.DEVICE, mac, {"sip.server": server_of(mac)})
                await extension(fleet, account, mac, number)
                await fleet.bind(Mac(mac), 1, extension=number)

    administer(house, fill)


async def extension(fleet: Fleet, account: str, mac: str, number: str) -> None:
    """An extension whose secret and display name say whose it is."""
    user = await fleet.add_user(f"Person {number}", account=account)
    name, secret = f"Person of {mac}", secret_of(mac, number)
    await fleet.add_extension(number, account=account, user=user.id, display_name=name, secret=secret)


def secret_of(mac: str, number: str) -> str:
    return f"{SECRET}{mac}.{number}"


def server_of(mac: str) -> str:
    return f"pbx-{mac}.example"


def certificate(house: House, vendor: str, mac: str, **leaf: Any) -> tuple[Path, Path]:
    """As House.certificate, with a P-256 key unless the leaf is to be weak: those are made in no time."""
    return house.certificate(vendor, mac, **(leaf or {"curve": CURVE}))


def phone(house: House, model: str | Persona, vendor: str, mac: str, **habits: Any) -> Phone:
    """A simulated phone with its factory certificate that trusts this server and is not patient with it."""
    persona = load_persona(vendor, model) if isinstance(model, str) else model
    given: dict[str, Any] = {"patience": 20.0, "attempts": 1, "retry_delay": 0.1, "trust": house.ca, **habits}
    if "certificate" not in given:
        given["certificate"], given["key"] = certificate(house, vendor, mac)
    return Phone(persona=persona, mac=Mac(mac), **given)


def url(house: House, kind: str = "device") -> str:
    scheme = "http" if kind == "bootstrap" else "https"
    return f"{scheme}://localhost:{house.ports[kind]}/"


def boots(*phones: tuple[Phone, str, Flash]) -> list[BootReport]:
    """Boot them, a few at a time."""

    async def all_of_them() -> list[BootReport]:
        few = asyncio.Semaphore(6)

        async def one(plugged: Phone, address: str, flash: Flash) -> BootReport:
            async with few:
                return await boot(plugged, address, flash)

        return await asyncio.gather(*(one(*each) for each in phones))

    return asyncio.run(all_of_them())


def boots_once(plugged: Phone, address: str, flash: Flash | None = None) -> BootReport:
    return boots((plugged, address, flash or Flash()))[0]


# --- processes and raw TLS ------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers(house: House) -> list[int]:
    """PIDs of the serving workers, by what the server's health says."""
    import json

    until = time.monotonic() + 10  # the administration comes up after the phones' listeners
    while True:
        with contextlib.suppress(OSError):
            if found := json.loads(house.get("/health", None, kind="admin")[2])["workers"]["pids"]:
                return list(found)
        if house.process.poll() is not None or time.monotonic() > until:
            return []
        time.sleep(0.1)


def resident(pid: int) -> int:
    """KiB of memory that are this process's own."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in rollup if line.startswith(("Private_Clean:", "Private_Dirty:")))


def old_tls(house: House, owner: tuple[Path, Path] | None = None, lowest: str = "TLSv1", **limits: str) -> Any:
    """A context of the standard library that goes down to TLS 1.0 and takes every cipher and key size."""
    import warnings

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(house.ca)
    context.set_ciphers(limits.get("ciphers", "ALL") + ":@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old TLS is what is tested
        context.minimum_version = ssl.TLSVersion[lowest]
        if highest := limits.get("highest"):
            context.maximum_version = ssl.TLSVersion[highest]
    if owner:
        context.load_cert_chain(*owner)
    return context


# --- the canary -----------------------------------------------------------------------------------


def no_canary(house: House) -> None:
    """No secret of an extension is in a log, event, metric, URL, upload, database page or journal of this House."""
    needles = {SECRET.encode(), SECRET[:-1].encode().hex().encode(), SECRET.encode().hex().encode()}
    for path in [*house.data.rglob("*"), house.data.parent / "server.log"]:
        if path.is_file():
            content = path.read_bytes()
            assert not [one for one in needles if one in content], path
    assert not [text for text in _texts(house.data / "provisioner.db") if SECRET in text]


def _texts(database: Path) -> Iterator[str]:
    """Every value in every table, packed ones unpacked."""
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(database, timeout=10)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in db.execute(f'SELECT * FROM "{table}"'):  # names from the schema itself
                yield from (_text(value) for value in row)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        with contextlib.suppress(zlib.error):
            value = zlib.decompress(value)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
    return str(value)


def no_traceback(house: House) -> None:
    log = house.log()
    assert "Traceback" not in log, log[log.index("Traceback") - 300 :][:3000]


def kill_all(house: House) -> None:
    """The power cut: the control process and all that it has begotten, at once."""
    assert house.process is not None
    family = [house.process.pid, *children(house.process.pid)]
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    house.process.wait(10)
    house.process = None
    soon(lambda: not [pid for pid in family if _alive(pid)], 10)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
