"""This server and phones in the laboratory: what its own records tell, and frames at the phone beside them."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from chain_maker import NOW, certificate
from cryptography.hazmat.primitives.asymmetric import ec
from expecting import Expected, facts_in, shown
from neighbours import PROXY, bad_neighbour
from office import NAME, SERVER_IP, office
from our_server import T46S, VVX, OurServer
from rounds import FILES, Scene, play

from provisioner.diagnosis.facts import Fact
from provisioner.diagnosis.ladder import diagnose
from provisioner.model import Mac

SILENT = Path(__file__).with_name("silent_phone.py")
PATIENCE = 20.0
"""s, for all records."""
AGENT = "FileTransport PolyVVX-VVX_411-UA/6.4.3.5018 Type/Application"
OLD = "FileTransport PolyVVX-VVX_411-UA/5.0.0.1 Type/Application"
OLD_PHONE = ("openssl", "s_client", "-connect", f"{SERVER_IP}:443", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
BEHIND = ("--tls-max", "1.2", "--cacert", f"{FILES}root.pem")
"""Of a proxy that ends TLS, asks for a certificate, and keeps what it is shown."""
LONG_AGO = {"not_before": NOW - timedelta(days=4000), "not_after": NOW - timedelta(days=300)}


@dataclass(frozen=True)
class Boot:
    """One phone: who it is here, with which certificate it comes, and what it does."""

    row: int | None
    name: str
    mac: str
    who: str = ""
    kind: tuple[str, str] | None = VVX
    """Vendor and model in the inventory; None: nobody has added it."""
    leaf: dict[str, Any] | None = field(default_factory=dict)
    """None: it has no certificate."""
    maker: str = "poly"
    chain: bool = True
    file: str = ""
    """Its own configuration unless it is said."""
    more: tuple[str, ...] = ()
    times: int = 1
    runs: tuple[tuple[str, ...], ...] = ()
    """In place of all that."""
    before: str = ""
    """It has been here before, with the certificate of that name, and was served."""
    says: str = ""
    scheme: str = "https"
    address: str = SERVER_IP
    port: int = 443


def mac(number: int) -> str:
    return f"0004f20000{number:02d}"


def boot(row: int | None, name: str, number: int, who: str = "", **more: Any) -> Boot:
    return Boot(row, name, more.pop("mac", mac(number)), who, **more)


BOOTS = [
    boot(None, "server_good", 1),
    boot(49, "server_strange_issuer", 49, "server", maker="strange", says="untrusted"),
    boot(49, "server_own_signature", 48, "server", maker="self", says="self_signed"),
    boot(50, "server_leaf_alone", 50, "server", kind=T46S, maker="yealink", chain=False, mac="001565000050"),
    boot(51, "server_expired", 51, "server", leaf=LONG_AGO),
    boot(52, "server_early", 52, "server", leaf={"not_before": NOW + timedelta(days=2)}),
    boot(53, "server_short_key", 53, "server", leaf={"bits": 1024}, says="1024"),
    boot(54, "server_md5", 54, "server", leaf={"bits": 2048, "algorithm": "md5"}, says="MD5"),
    boot(55, "server_no_certificate", 55, "server", leaf=None),
    boot(56, "server_generic", 56, "server", leaf={"generic": True}),
    boot(57, "server_another_phones_file", 57, "server", file=f"{mac(1)}-user.cfg"),
    boot(59, "server_behind_proxy", 59, "server", address=PROXY, more=BEHIND),
    boot(62, "server_no_such_file", 62, "server", file="sip-config.xml"),
    boot(63, "server_wrong_vendor", 63, "server", kind=T46S),
    boot(67, "server_upload_refused", 67, "server", more=("-T", __file__), before="server_upload_refused"),
    boot(68, "server_loop", 68, "none", times=6, says="6 times"),
    boot(77, "server_revoked", 77, "server"),
    boot(78, "server_not_added", 78, "server", kind=None),
    boot(79, "server_another_key", 79, "server", before="server_first_key"),
    boot(80, "server_wrong_listener", 80, "server", port=444),
    boot(81, "server_old_firmware", 81, "server", more=("-A", OLD)),
    boot(82, "server_no_line", 82, "none"),
    boot(83, "server_wiped", 83, "server"),
    boot(84, "server_broken_template", 84, "server", kind=T46S, maker="yealink", mac="001565000084"),
    boot(36, "server_plain_http", 36, "phone", leaf=None, scheme="http"),
    boot(46, "server_old_phone", 46, "server", leaf=None, runs=(OLD_PHONE,)),
    boot(39, "server_unknown_to_phone", 39, "phone", more=("--cacert", f"{FILES}other.pem")),
    boot(85, "server_phone_falls_silent", 85, "phone", runs=((sys.executable, str(SILENT), SERVER_IP, NAME),)),
]


def own_file(one: Boot) -> str:
    """Poly's names of a phone's own configuration, and Yealink's."""
    return f"{one.mac}{'-user' if one.mac.startswith('0004f2') else ''}.cfg"


def words(one: Boot) -> tuple[str, ...]:
    """curl; and openssl where curl takes no such certificate."""
    path = f"/{one.file or own_file(one)}"
    own = () if one.leaf is None else ("--cert", f"{FILES}{one.name}.pem", "--key", f"{FILES}{one.name}.key")
    if "bits" in (one.leaf or {}):
        asks = f"GET {path} HTTP/1.1\\r\\nHost: {NAME}\\r\\nConnection: close\\r\\n\\r\\n"
        known = f"-cert {FILES}{one.name}.pem -cert_chain {FILES}{one.name}.above -key {FILES}{one.name}.key"
        reads = f"openssl s_client -quiet -connect {SERVER_IP}:443 -servername {NAME} -cipher ALL:@SECLEVEL=0 {known}"
        return ("sh", "-c", f"(printf '{asks}'; sleep 0.3) | {reads}")
    known = ("--resolve", f"{NAME}:{one.port}:{one.address}", "--cacert", f"{FILES}ca.pem", "-o", "/dev/null")
    return (
        "curl",
        "-s",
        "-m",
        "6",
        "-A",
        AGENT,
        *known,
        *own,
        *one.more,
        f"{one.scheme}://{NAME}:{one.port}{path}",
    )


def scene(one: Boot) -> Scene:
    first = (words(replace(one, name=one.before, more=(), before="")),) if one.before else ()
    runs = one.runs or first + (words(one),) * one.times
    return Scene(one.name, Expected(one.row, one.who, one.says, one.mac, small=one.times == 1), runs)


def burnt_in(path: Path, leaf: bytes, key: bytes, above: bytes) -> None:
    path.with_suffix(".pem").write_bytes(leaf + above)
    path.with_suffix(".above").write_bytes(above)
    path.with_suffix(".key").write_bytes(key)


def leaves(server: OurServer, place: Path) -> None:
    """Each phone's certificate, as its maker burns it in."""
    stranger = certificate("Someone's CA", ca=True)
    for one in (each for each in BOOTS if each.leaf is not None and not each.runs):
        if one.maker in {"strange", "self"}:
            made = certificate(one.mac.upper(), stranger if one.maker == "strange" else None)
            leaf, key, above = made.pem, made.key_pem, stranger.pem if one.maker == "strange" else b""
        else:
            kind = {} if "bits" in one.leaf else {"curve": ec.SECP256R1()}
            leaf, key, above = server.house.factories[one.maker].leaf(one.mac, **kind, **one.leaf)
        burnt_in(place / one.name, leaf, key, above if one.chain else b"")
        if one.before not in {"", one.name}:
            burnt_in(place / one.before, *server.house.factories[one.maker].leaf(one.mac, curve=ec.SECP256R1()))
    (place / "other.pem").write_bytes(stranger.pem)
    (place / "ca.pem").write_bytes(server.house.ca.read_bytes())


def prepared(place: Path) -> OurServer:
    server = OurServer.build(place / "ours")
    known = {one.mac: one.kind for one in BOOTS if one.kind is not None}
    by_row = {one.row: Mac(one.mac) for one in BOOTS}
    server.prepare(
        known,
        lambda fleet: fleet.revoke_device(by_row[77]),
        lambda fleet: fleet.unbind(by_row[82], 1),
        lambda fleet: fleet.wipe_device(by_row[83], unbind=True),
    )
    broken = server.house.data / "templates" / "yealink" / "device.j2"
    broken.parent.mkdir(parents=True, exist_ok=True)
    broken.write_text("{{ nobody.has.this }}")
    leaves(server, place)
    return server


@dataclass
class Played:
    """All of it over: the tapes, and what the records tell."""

    server: OurServer
    tapes: dict[str, Path]

    def told(self, one: Boot, end: float = 0.0) -> tuple[list[Fact], Expected]:
        """Waited for: a worker writes in batches, a good boot some seconds after its end."""
        frames = facts_in([self.tapes[one.name]], one.mac)
        while True:
            facts, subject = self.server.told(one.mac)
            found = diagnose([*facts, *frames], subject, time.time())
            row = found.cause.row.id if found.cause else None
            if row == one.row or time.monotonic() > end:
                break
            time.sleep(0.2)
        known = {"vendor": subject.vendor, "model": subject.model}
        places = {"names": tuple(subject.names), "addresses": tuple(subject.addresses)}
        return facts, replace(scene(one).expected, **known, **places)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    place = tmp_path_factory.mktemp("server")
    server = prepared(place)
    with (
        office(place / "office") as here,
        server.serving(here.server),
        bad_neighbour(here.server, place, behind=f"{SERVER_IP}:443"),
    ):
        tapes = play(here, [scene(one) for one in BOOTS], place / "tapes", place)
        found = Played(server, tapes)
        end = time.monotonic() + PATIENCE
        for one in BOOTS:
            found.told(one, end)
        return found


@pytest.mark.slow
@pytest.mark.parametrize("one", BOOTS, ids=[one.name for one in BOOTS])
def test_the_first_line_names_the_cause(played: Played, one: Boot) -> None:
    facts, expected = played.told(one)
    shown(one.name, expected, played.tapes[one.name], facts)
