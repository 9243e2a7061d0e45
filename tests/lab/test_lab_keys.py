"""A phone's TLS secrets in the laboratory: recorded by our server, its frames taken meanwhile, read by Wireshark."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from house import OTHER_VVX, SECRET, House
from network import Host, until
from office import PHONE, SERVER_IP, STRANGER_IP, Office, colons, office

from provisioner.cli.main import cli

pytestmark = pytest.mark.slow
AGENT = "FileTransport PolycomVVX-VVX_411-UA/6.4.3.5018 (SN:0004f2aabbcc) Type/Application"
TOKEN, BASIC = "AbCdEfGhIjKlMnOpQrStUvWx", "Z2VoZWltOmthbmFyaQ=="
PHONE_IP = "192.0.2.50"


@dataclass
class Scene:
    """An office with our server in it."""

    office: Office
    house: House

    def does(self, *words: str) -> dict[str, object]:
        """A command of the administrator's, beside the running server."""
        done = CliRunner().invoke(cli, ["--data", str(self.house.data), "--json", *words])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)  # type: ignore[no-any-return]  # what it says is looked at

    def fetches(self, host: Host, mac: str, *more: str, path: str = "") -> str:
        """As a phone of that MAC, with its maker's certificate; what came."""
        chain, key = self.house.certificate("poly", mac)
        target = f"https://{SERVER_IP}:8443{path or f'/{mac}-user.cfg'}"
        words = ["curl", "-sS", "-k", "-A", AGENT, "-m", "15", "--cert", str(chain), "--key", str(key), *more, target]
        return host.must(*words)

    @contextmanager
    def frames(self, folder: Path) -> Iterator[list[Path]]:
        """What goes by at the router, by the capture program; the files are there when the block is over."""
        words = (sys.executable, "-I", "-m", "provisioner.capture", "live", "-i", "eth0", "--into", folder)
        files: list[Path] = []
        with self.office.router.program(*words, "--seconds", "60", until='"live"', end=signal.SIGINT) as program:
            yield files
            program.end(signal.SIGINT, 20)
        told = [json.loads(line) for line in program.log().splitlines() if '"taken"' in line]
        files.extend(Path(one) for one in told[0]["taken"]["files"])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    place = tmp_path_factory.mktemp("keys")
    house = House.build(place)

    async def fill() -> None:
        await house.add(PHONE, "poly", "VVX 411", "2001")
        await house.add(OTHER_VVX, "poly", "VVX 411", "2004")

    asyncio.run(fill())
    ports = {"DEVICE_PORT": "8443", "BOOTSTRAP_PORT": "0", "ADMIN_PORT": "0", "SERVER_WORKERS": "2"}
    ports["SERVER_HOST"] = SERVER_IP
    environment = {f"PROVISIONER_{one}": to for one, to in ports.items()}
    with office(place / "office") as here:
        here.new_phone(address=PHONE_IP)
        here.stranger.ip(f"link set eth0 address {colons(OTHER_VVX)}")
        words = (sys.executable, "-m", "provisioner", "--data", house.data, "serve")
        with here.server.program(*words, env={**os.environ, **environment}) as program:
            addresses = house.data / "run" / "addresses.json"
            until(addresses.is_file, program.log, 30)
            yield Scene(here, house)
        assert SECRET not in program.log()


def shown(path: Path) -> str:
    """All that Wireshark reads in a file, with no secrets but those in it."""
    words = ["tshark", "-r", str(path), "-T", "json", "-x"]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


def hellos(path: Path, of: str) -> set[str]:
    """Randoms of what somebody has begun."""
    only = f"tls.handshake.type == 1 and ip.src == {of}"
    words = [
        "tshark",
        "-r",
        str(path),
        "-d",
        "tcp.port==8443,tls",
        "-Y",
        only,
        "-T",
        "fields",
        "-e",
        "tls.handshake.random",
    ]
    return set(subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.split())


def held(scene: Scene) -> int:
    """Connections of whose secrets there are some."""
    (one,) = scene.does("keylog", "show")
    return int(one["connections"])  # type: ignore[index]  # a list of documents


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_bundle_opens_and_holds_no_secret(scene: Scene, tmp_path: Path, version: str) -> None:
    here = scene.office
    only = ("--tls-max", version, f"--tlsv{version}", "-H", f"Authorization: Basic {BASIC}")
    scene.does("keylog", "open", PHONE, "--minutes", "5")
    with scene.frames(tmp_path / "ring") as files:
        before = held(scene)

        def recorded() -> bool:
            """A worker begins within a second; the phone comes until one has."""
            config = scene.fetches(here.phone, PHONE, *only)
            assert SECRET in config
            scene.fetches(here.stranger, OTHER_VVX, *only)
            return held(scene) > before

        until(recorded, lambda: "no worker has recorded anything", 60)
        scene.fetches(here.phone, PHONE, *only, path=f"/t/{TOKEN}/000000000000.cfg")
        count = held(scene)
        until(lambda: held(scene) >= count, lambda: "not written")
    lines = scene.does("keylog", "take", PHONE)["lines"]
    scene.does("keylog", "close", PHONE)
    strangers = hellos(files[0], STRANGER_IP)
    assert strangers, "the other device has fetched at the same time"
    assert not {line.split()[1] for line in lines} & strangers  # type: ignore[attr-defined]  # a list
    out = tmp_path / "out"
    told = scene.does("capture", "bundle", PHONE, *map(str, files), "--into", str(out))
    assert told["keys"]["opened"] > 0, told  # type: ignore[index]  # a document
    bundle = out / f"{PHONE}.pcapng"
    read = shown(bundle)
    assert f'"http.request.uri": "/{PHONE}-user.cfg"' in read
    assert '"http.response.code": "200"' in read
    assert OTHER_VVX not in read.lower().partition('"http.request.uri"')[2].partition("certificate")[0]
    whole = b"".join(one.read_bytes() for one in out.iterdir()) + read.encode()
    for canary in (SECRET, TOKEN, BASIC):
        assert canary.encode() not in whole, canary
        assert canary.encode().hex().encode() not in whole, canary
    assert STRANGER_IP not in read, "another device's connections are not in it"


def test_no_secrets_of_another_device_were_kept(scene: Scene) -> None:
    """What is there opens the phone's connections alone."""
    found = scene.does("keylog", "show")
    assert [one["mac"] for one in found] == [PHONE]  # type: ignore[index]  # documents
    scene.does("keylog", "delete", PHONE)
    assert scene.does("keylog", "show") == []
    kinds = [one["kind"] for one in scene.does("events", "--mac", PHONE)]  # type: ignore[index]  # documents
    assert {"key_recording_opened", "key_recording_closed", "tls_secrets_taken", "key_recording_deleted"} <= set(kinds)
