"""An installation that is not whole does not serve: exit code 2, one line that says what to do, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from house import House

import provisioner
from provisioner import pki

Harm = Callable[[Path], object]


def serve(data: Path, code: Path | None = None, **environment: str) -> tuple[int, str]:
    """Exit code and words of a server that cannot start; one that does start is an error of the test."""
    ports = {f"PROVISIONER_{kind}_PORT": "0" for kind in ("DEVICE", "BOOTSTRAP", "ADMIN")}
    done = subprocess.run(
        [sys.executable, "-m", "provisioner", "serve", "--data", str(data)],
        env={**os.environ, **ports, **environment}, cwd=code or Path.cwd(), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def told(data: Path, code: Path | None = None, **environment: str) -> str:
    """The one line of the refusal."""
    status, words = serve(data, code, **environment)
    assert status == 2, words
    assert "Traceback" not in words
    lines = [line for line in words.splitlines() if " INFO " not in line]
    assert len(lines) == 1, words
    assert not (data / "run" / "server.pid").exists()
    assert not (data / "run" / "addresses.json").exists()
    return lines[0]


@pytest.fixture
def data(blank: House, tmp_path: Path) -> Path:
    return blank.copy(tmp_path).data


def forge_trust(data: Path) -> None:
    forged, other = sorted((data / "trust").glob("*.pem"))[:2]
    forged.write_bytes(other.read_bytes())


def break_trust(data: Path) -> None:
    (data / "trust" / "trust.toml").write_text("[[ca]\n")


def lose_trust(data: Path) -> None:
    next((data / "trust").glob("*.pem")).unlink()


def age_database(data: Path) -> None:
    with contextlib.closing(sqlite3.connect(data / "provisioner.db")) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.commit()


def lose_schema(data: Path) -> None:
    for path in data.glob("provisioner.db*"):
        path.unlink()
    sqlite3.connect(data / "provisioner.db").close()


def no_certificate(data: Path) -> None:
    (data / "tls" / "server-ec.pem").unlink()


def swap_keys(data: Path) -> None:
    """The certificate of one and the key of another."""
    rsa, ec = data / "tls" / "server-rsa.pem", data / "tls" / "server-ec.pem"
    begin = "-----BEGIN CERTIFICATE-----"
    rsa.write_text(ec.read_text().partition(begin)[0] + begin + rsa.read_text().partition(begin)[2])


HARMS: dict[str, tuple[Harm, str]] = {
    "forged factory CA": (forge_trust, "trust the CAs again"),
    "broken list of factory CAs": (break_trust, "trust.toml"),
    "lost factory CA": (lose_trust, "trust"),
    "lost key": (lambda data: (data / "master.key").unlink(), "master.key is missing"),
    "key that others can read": (lambda data: (data / "master.key").chmod(0o640), "chmod 600"),
    "key of the wrong size": (lambda data: (data / "master.key").write_text("abc\n"), "master.key"),
    "database of a newer program": (age_database, "9999"),
    "database without tables": (lose_schema, "provisioner db upgrade"),
    "database of garbage": (lambda data: (data / "provisioner.db").write_bytes(b"\xff" * 9000), "database"),
    "lost certificate": (no_certificate, "server-ec.pem"),
    "certificate with another's key": (swap_keys, "server-rsa.pem"),
    "broken settings": (lambda data: (data / "provisioner.toml").write_text("[device\n"), "provisioner.toml"),
    "unknown setting": (lambda data: (data / "provisioner.toml").write_text("[device]\nprot = 1\n"), "device.prot"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_wrong_is_said_in_one_line(data: Path, harm: str) -> None:
    do, word = HARMS[harm]
    do(data)
    assert word in told(data)


def test_a_setting_out_of_range(data: Path) -> None:
    words = told(data, PROVISIONER_DEVICE_PORT="70000")
    assert "device.port" in words
    assert "65535" in words


def test_a_certificate_that_has_expired(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pki, "SERVER_DAYS", -1)
    monkeypatch.setattr(pki, "_SLACK", timedelta(days=30))
    pki.make_server(data / "tls", "localhost")
    assert "not now" in told(data)


def test_a_forged_file_of_the_shipped_catalogue(data: Path, tmp_path: Path) -> None:
    """A copy of the program with one CA exchanged for another of the same catalogue."""
    source = Path(provisioner.__file__).parent.parent
    copy = tmp_path / "program"
    for part in ("provisioner", "certs", "templates"):
        shutil.copytree(source / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    forged, other = sorted((copy / "certs").glob("*.pem"))[:2]
    forged.write_bytes(other.read_bytes())
    words = told(data, copy)
    assert forged.name in words
    assert str(copy) in words, "the copy ran, not the original"


@pytest.mark.slow  # seven seconds
def test_a_port_of_another_program(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for kind in ("DEVICE", "BOOTSTRAP", "ADMIN", "LEGACY"):
            words = told(data, **{f"PROVISIONER_{kind}_PORT": str(taken.getsockname()[1])})
            assert "is taken by another program" in words
            assert f"{kind.lower()}.port" in words


def test_mended_it_serves(data: Path) -> None:
    """The counter-proof: the same copy without harm."""
    house = House(data)
    house.start()
    house.stop()
