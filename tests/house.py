"""A whole installation on this machine for tests: factories, devices, and `provisioner serve` with ports of its own."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from provisioner import installation, pki, settings, trust
from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac
from provisioner.store.database import Store
from provisioner.vendors import drivers

T = TypeVar("T")

VVX, OTHER_VVX, T46S, OBI = "0004f2000001", "0004f2000004", "001565000002", "9cadef000003"
SECRET = "canary-Secret-Zq7!"
"""Begins every SIP secret: it must turn up in phones' files and nowhere else."""


@cache
def _pristine() -> House:
    """One a process that nobody uses, to copy from: its eight RSA keys are half a house's start."""
    directory = Path(tempfile.mkdtemp(prefix="house-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    house = House(directory / "data")
    installation.init(house.data)
    for vendor in ("poly", "yealink"):
        house.factories[vendor] = pki.make_factory(vendor, directory / "factories" / vendor)
        trust.add(house.data, vendor, house.factories[vendor].cas_pem)
    return house


@dataclass
class House:
    data: Path
    environment: dict[str, str] = field(default_factory=dict)
    factories: dict[str, pki.Factory] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    ports: dict[str, int] = field(default_factory=dict)

    @classmethod
    def build(cls, directory: Path, **environment: object) -> House:
        """An initialised DATA that trusts a factory of each vendor."""
        return _pristine().copy(directory, **environment)

    def copy(self, directory: Path, **environment: object) -> House:
        """Another installation like this one, before it is started: keys take their time, files do not."""
        shutil.copytree(self.data, directory / "data")
        return House(
            directory / "data",
            {f"PROVISIONER_{key.upper()}": str(value) for key, value in environment.items()},
            dict(self.factories),
        )

    # --- administrator ------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def fleet(self) -> AsyncIterator[Fleet]:
        configured = settings.load(self.data)
        async with Store.of(configured) as store:
            yield Fleet(store, {one.manifest.name: one for one in drivers(self.data / "templates")}, actor="test")

    async def add(self, mac: str, vendor: str, model: str, number: str = "", **extension: str) -> Mac:
        """A device, with its own user and extension when a number is given, in the one account."""
        parsed = Mac.parse(mac)
        async with self.fleet() as fleet:
            accounts = await fleet.accounts()
            account = accounts[0].id if accounts else (await fleet.add_account("Acme")).id
            await fleet.add_device(parsed, vendor=vendor, model=model, account=account)
            if number:
                user = await fleet.add_user(f"Person {number}", account=account)
                given = {"display_name": f"Person {number}", "secret": f"{SECRET}{number}"} | extension
                await fleet.add_extension(number, account=account, user=user.id, **given)
                await fleet.bind(parsed, 1, extension=number)
        return parsed

    # --- factory ------------------------------------------------------------------------------------

    def certificate(self, vendor: str, mac: str, **leaf: Any) -> tuple[Path, Path]:
        """Chain file and key file of a phone."""
        name = f"{vendor}-{mac}-{abs(hash(repr(leaf))):x}"
        chain, key = self.data.parent / f"{name}.pem", self.data.parent / f"{name}.key"
        if not chain.exists():
            certificate, key_pem, above = self.factories[vendor].leaf(mac, **leaf)
            chain.write_bytes(certificate + above)
            key.write_bytes(key_pem)
        return chain, key

    @property
    def ca(self) -> Path:
        return self.data / "tls" / "ca.pem"

    def context(self, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """A phone's TLS, by the standard library."""
        made = ssl.create_default_context(cafile=str(self.ca))
        if certificate:
            made.load_cert_chain(*certificate)
        return made

    # --- server ---------------------------------------------------------------------------------------

    def start(self, wait: float = 20.0) -> None:
        """Serve on free ports until ``stop``."""
        environment = {
            **os.environ,
            "PROVISIONER_SERVER_WORKERS": "1",
            **{f"PROVISIONER_{kind}_PORT": "0" for kind in ("DEVICE", "BOOTSTRAP", "ADMIN")},
            **self.environment,
        }
        log = (self.data.parent / "server.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "provisioner", "--data", str(self.data), "serve"],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + wait
        addresses = self.data / "run" / "addresses.json"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server has left: {self.log()}")
            with contextlib.suppress(OSError, ValueError):
                self.ports = {kind: address["port"] for kind, address in json.loads(addresses.read_text()).items()}
                if self.ports and self._answers():
                    return
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"the server did not come up: {self.log()}")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/", certificate=None)[0] in (404, 401)
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            finally:
                if self.process.poll() is None:
                    os.killpg(self.process.pid, signal.SIGKILL)
                    self.process.wait(5)
            self.process = None

    def log(self) -> str:
        return (self.data.parent / "server.log").read_text(errors="replace")

    # --- phone --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def connection(
        self, certificate: tuple[Path, Path] | None, kind: str = "device"
    ) -> Iterator[http.client.HTTPConnection]:
        """One kept connection, TLS or not."""
        made: http.client.HTTPConnection
        if kind in ("device", "legacy"):
            made = http.client.HTTPSConnection(
                "127.0.0.1", self.ports[kind], timeout=10, context=self.context(certificate)
            )
        else:
            made = http.client.HTTPConnection("127.0.0.1", self.ports[kind], timeout=10)
        with contextlib.closing(made):
            yield made

    def get(
        self,
        path: str,
        certificate: tuple[Path, Path] | None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        kind: str = "device",
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own."""
        with self.connection(certificate, kind) as made:
            return ask(made, path, method=method, body=body, **headers)


def ask(
    connection: http.client.HTTPConnection,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """Status, lower-case headers and body."""
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request(method, path, body=body, headers=sent)
    answer = connection.getresponse()
    data = answer.read()
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}, data


def events(house, kind, mac=""):
    """Events of a kind, waited for: they are written in batches."""

    async def read():
        async with house.fleet() as fleet:
            return await fleet.events(kind=kind, mac=mac)

    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if found := asyncio.run(read()):
            return found
        time.sleep(0.1)
    return []


def administer(house, action):
    async def run():
        async with house.fleet() as fleet:
            return await action(fleet)

    return asyncio.run(run())


def soon(condition: Callable[[], T], seconds: float = 5.0) -> T:
    """What it answers once that is true, or its last answer when the time is up."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def wrapped(house, context, session=None):
    with (
        socket.create_connection(("127.0.0.1", house.ports["device"]), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as made,
    ):
        yield made


def raw(connection, sent):
    sent = sent.encode() if isinstance(sent, str) else sent
    with contextlib.suppress(OSError):
        connection.sendall(sent)
    answer = b""
    with contextlib.suppress(TimeoutError, ConnectionResetError, ssl.SSLError):
        connection.settimeout(5)
        answer = connection.recv(65536)
    return answer
