"""TLS in the laboratory: real phones' libraries against a web server that does it wrong, and the other way round."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from chain_maker import NOW, certificate
from expecting import Expected, shown
from neighbours import (
    ASKS,
    EXPIRED,
    GOOD,
    INSPECTED,
    LEAF_ONLY,
    NEW_KEY,
    NOT_YET,
    OLD,
    ONE_SUITE,
    OTHER_NAME,
    PLAIN,
    TWO_NAMES,
    bad_neighbour,
)
from network import Host
from office import NAME, PHONE, office
from rounds import FILES, Scene, play

from provisioner import pki

FILE = f"{PHONE}.cfg"
HELLO = Path(__file__).with_name("old_hello.py")


def curl(address: str, *more: str, trusts: str = "root", scheme: str = "https", port: int = 443) -> list[str]:
    """As a phone that has one root; what it trusts lies beside the servers' files."""
    known = ["--resolve", f"{NAME}:{port}:{address}", "--cacert", f"{FILES}{trusts}.pem", "-o", "/dev/null"]
    return ["curl", "-s", "-m", "8", *known, *more, f"{scheme}://{NAME}:{port}/{FILE}"]


def s_client(address: str, *more: str, trusts: str = "root") -> list[str]:
    strict = ["-verify_return_error", "-CAfile", f"{FILES}{trusts}.pem", "-verify_hostname", NAME]
    return ["openssl", "s_client", "-connect", f"{address}:443", *strict, *more]


OLD_TLS = ("--tls-max", "1.2")
ECHO = "198.51.100.60"
"""There a server asks for a certificate and says by alert what it thinks of it."""


LATE = ("--cert", f"{FILES}late.pem", "--key", f"{FILES}late.key")


def shows(name: str) -> list[str]:
    """It comes with a certificate, however weak, to whoever asks for one."""
    own = ["-cert", f"{FILES}{name}.pem", "-key", f"{FILES}{name}.key"]
    own += [] if name == "leaf" else ["-cert_chain", f"{FILES}{name}.above"]
    return s_client(ECHO, "-tls1_2", "-servername", NAME, "-cipher", "ALL:@SECLEVEL=0", *own)


def scene(name: str, row: int, who: str, words: list[str], says: str = "", *, sure: bool | None = None) -> Scene:
    return Scene(name, Expected(row, who, says, sure=sure), [words])


SCENES = [
    scene("tls_unknown_ca_12", 39, "phone", curl(GOOD, *OLD_TLS, trusts="stranger"), "alert 48", sure=True),
    scene("tls_unknown_ca_13", 39, "phone", curl(GOOD, trusts="stranger"), "alert 48"),
    scene("tls_leaf_alone", 40, "phone", curl(LEAF_ONLY, *OLD_TLS), "alert 48"),
    Scene("tls_cisco_spa", Expected(41, "phone", "alert 48", vendor="cisco", model="SPA504G"),
          [curl(GOOD, *OLD_TLS, trusts="stranger")]),
    scene("tls_expired_12", 42, "phone", curl(EXPIRED, *OLD_TLS), "ended before", sure=True),
    scene("tls_expired_13", 42, "phone", curl(EXPIRED), "alert 45"),
    scene("tls_early", 42, "phone", curl(NOT_YET, *OLD_TLS), "not valid today", sure=True),
    scene("tls_inspected", 35, "phone", curl(INSPECTED, *OLD_TLS), "alert 48", sure=True),
    scene("tls_wrong_name_12", 43, "phone", curl(OTHER_NAME, *OLD_TLS), "www.example.org", sure=True),
    scene("tls_wrong_name_13", 43, "phone", curl(OTHER_NAME), "no request"),
    scene("tls_wrong_name_alert", 43, "phone", s_client(OTHER_NAME, "-tls1_2", "-servername", NAME), "alert 42"),
    scene("tls_no_name", 44, "phone", s_client(TWO_NAMES, "-tls1_2", "-noservername"), "names no host"),
    scene("tls_old_phone", 46, "server",
          s_client(ONE_SUITE, "-tls1_1", "-servername", NAME, "-cipher", "ALL:@SECLEVEL=0"), "alert 70", sure=True),
    scene("tls_old_server", 87, "phone", curl(OLD, "--tlsv1.2", *OLD_TLS), "the server has chosen TLSv1", sure=True),
    scene("tls_old_server_refuses", 87, "server", curl(OLD, "--tlsv1.2"), "alert 70", sure=True),
    scene("tls_no_suite", 45, "server", curl(ONE_SUITE, *OLD_TLS, "--ciphers", "AES128-SHA"), "alert 40"),
    scene("tls_new_key", 48, "server", curl(NEW_KEY, *OLD_TLS, "--ciphers", "ECDHE-RSA-AES128-GCM-SHA256"), "alert 40"),
    scene("tls_no_algorithms", 47, "server", [sys.executable, str(HELLO), ONE_SUITE, NAME], "alert 40", sure=True),
    scene("tls_plain_port", 36, "phone", curl(PLAIN), "plain_http"),
    scene("http_on_tls_port", 36, "phone", curl(GOOD, scheme="http"), "400", sure=True),
    scene("tls_proxy_expired", 51, "server", curl(ASKS, *OLD_TLS, *LATE), "its certificate"),
    scene("tls_phone_expired", 51, "server", shows("late"), "alert 45", sure=True),
    scene("tls_phone_early", 52, "server", shows("soon"), sure=True),
    scene("tls_phone_unknown", 49, "server", shows("strange"), "alert 48", sure=True),
    scene("tls_phone_alone", 50, "server", shows("leaf"), "alert 48", sure=True),
    scene("tls_phone_short_key", 53, "server", shows("short"), sure=True),
    scene("tls_phone_md5", 54, "server", shows("md5"), sure=True),
    scene("tls_phone_none", 55, "server", curl(ECHO, *OLD_TLS), sure=True),
    scene("tls_phone_purpose", 60, "server", shows("purpose"), sure=True),
]  # fmt: skip


def phones(place: Path) -> None:
    """Certificates of phones, good and bad, of one maker; the shape of the real ones."""
    maker = pki.make_factory("poly", place / "maker")
    past = {"not_before": NOW - timedelta(days=4000), "not_after": NOW - timedelta(days=300)}
    made = {
        "late": maker.leaf(PHONE, **past),
        "soon": maker.leaf(PHONE, not_before=NOW + timedelta(days=2)),
        "leaf": (*maker.leaf(PHONE)[:2], b""),
        "short": maker.leaf(PHONE, bits=1024),
        "md5": maker.leaf(PHONE, algorithm="md5"),
        "purpose": maker.leaf(PHONE, purposes=[pki.ExtendedKeyUsageOID.SERVER_AUTH]),
    }
    stranger = certificate("Stranger Issuing", ca=True)
    strange = certificate(PHONE.upper(), stranger)
    made["strange"] = (strange.pem, strange.key_pem, stranger.pem)
    for name, (leaf, key, above) in made.items():
        (place / f"{name}.pem").write_bytes(leaf + above)
        (place / f"{name}.above").write_bytes(above)
        (place / f"{name}.key").write_bytes(key)
    (place / "factory.pem").write_bytes(maker.root_pem.read_bytes())


@contextmanager
def asker(host: Host, place: Path) -> Iterator[None]:
    """It wants a certificate of the factory and refuses every other by an alert that says why."""
    host.ip(f"addr add {ECHO}/24 dev eth0")
    keys = ["-cert", place / "rsa.pem", "-key", place / "rsa.key", "-cert_chain", place / "rsa.pem"]
    words = [
        "-www",
        "-accept",
        f"{ECHO}:443",
        "-Verify",
        "5",
        "-verify_return_error",
        "-CAfile",
        place / "factory.pem",
        *keys,
    ]
    with host.program("openssl", "s_server", *words, until="ACCEPT"):
        yield


@pytest.fixture(scope="module")
def tapes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("tls")
    phones(place)
    with office(place / "office") as here, bad_neighbour(here.server, place), asker(here.server, place):
        return play(here, SCENES, place / "tapes", place)


@pytest.mark.slow
@pytest.mark.parametrize("one", SCENES, ids=[one.name for one in SCENES])
def test_the_first_line_names_the_cause(tapes: dict[str, Path], one: Scene) -> None:
    shown(one.name, one.expected, tapes[one.name])
