"""Plain HTTP, for phones out of the box: from there to the secure listener and a line, nothing secret on the way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import SECRET, House
from stage import add, administer, boots, boots_once, no_canary, no_traceback, phone, secret_of, url

from provisioner.model import Mac, Scope
from provisioner.simulator import Flash, Outcome, personas
from provisioner.simulator.persona import Sequence
from provisioner.vendors import drivers

ADMIN = "canary-Admin-Xw3!"
OUIS = {"poly": "0004f2", "yealink": "001565"}
MODERN = [one for one in personas() if one.tls_max >= "1.2"]
MACS = {f"{OUIS[one.vendor]}{0xD00000 + place:06x}": one for place, one in enumerate(MODERN)}
KINDS = {one.sequence: mac for mac, one in reversed(MACS.items())}
IMAGE = "T46S-66.86.0.99.rom"


@pytest.fixture(scope="module")
def house(blank: House, room: Path) -> Iterator[House]:
    built = blank.copy(room, store_flush=0.2)
    add(built, *((mac, one.vendor, one.model, number(mac)) for mac, one in MACS.items()))
    secrets = {"password.admin": ADMIN, "password.user": ADMIN + "user"}
    administer(built, lambda fleet: fleet.set_layer(Scope.DEFAULTS, "", secrets, {}))
    (built.data / "firmware" / "yealink" / IMAGE).write_bytes(b"image" * 100_000)
    built.start()
    yield built
    built.stop()
    no_traceback(built)
    no_canary(built)


def number(mac: str) -> str:
    return f"6{int(mac[-4:], 16):04d}"


def start(house: House, sequence: Sequence) -> str:
    """What the phone is told out of the box: by DHCP, or by hand."""
    return url(house, "bootstrap") + ("$DM.xml" if sequence is Sequence.OBI else "")


def takes_a_ca(model: str) -> bool:
    return not any("ca.custom" in one.refuses for driver in drivers() if (one := driver.manifest.models.get(model)))


@pytest.mark.slow
@pytest.mark.parametrize("sequence", list(Sequence))
def test_out_of_the_box_by_plain_http_to_its_own_line(house: House, sequence: Sequence) -> None:
    """It trusts the public CAs only: ours must come to it by plain HTTP, or the second address refuses it."""
    fresh = {mac: one for mac, one in MACS.items() if one.sequence is sequence and takes_a_ca(one.model)}
    assert len(fresh) >= 3
    reports = boots(
        *(
            (phone(house, one, one.vendor, mac, trust=None, follow=1), start(house, sequence), Flash())
            for mac, one in fresh.items()
        )
    )
    wrong = {
        one.model: (one.outcome, one.refused_because, one.notes)
        for one in reports
        if one.outcome is not Outcome.REGISTERED or one.lines[0].secret != secret_of(one.mac, number(one.mac))
    }
    assert not wrong
    assert all(one.tls_version and one.connections >= 2 for one in reports)


def test_an_adapter_that_takes_no_ca_finds_its_way_where_it_trusts_the_server_already(house: House) -> None:
    """As with a certificate of a public CA; with ours alone it stays out, and says why."""
    bound = [(mac, one) for mac, one in MACS.items() if not takes_a_ca(one.model)]
    assert {one.sequence for _, one in bound} == {Sequence.OBI}
    for mac, one in bound:
        trusting = phone(house, one, one.vendor, mac, follow=1)
        report = boots_once(trusting, start(house, Sequence.OBI))
        assert [line.secret for line in report.lines] == [secret_of(mac, number(mac))], one.model
    mac, one = bound[0]
    report = boots_once(phone(house, one, one.vendor, mac, trust=None, follow=1), start(house, Sequence.OBI))
    assert "does not trust the server's certificate" in report.refused_because


def test_a_phone_that_got_no_ca_refuses_the_secure_listener(house: House) -> None:
    """The counter-proof: what the phones above trusted was what plain HTTP gave them."""
    mac = KINDS[Sequence.YEALINK]
    report = boots_once(phone(house, MACS[mac], "yealink", mac, trust=None), url(house))
    assert report.outcome is Outcome.REFUSED


def names() -> set[str]:
    """Every name that any model may ask for, and names that lie near a secret."""
    found = {"", "ca.pem", "ca.crt", "yealink-ca.pem", "master.key", "provisioner.db", "tls/server-rsa.pem", "metrics"}
    for driver in drivers():
        for model in driver.manifest.models.values():
            for pattern in driver.manifest.files[model.dialect]:
                for mac in ("000000000000", *KINDS.values(), "0004f2ffffff"):
                    found.add(pattern.format(mac=mac, code=model.code, part=model.part_number))
    found |= {f"{one.token}.xml" for one in personas() if one.sequence is Sequence.OBI}
    return found | {name.upper() for name in found} | {f"t/x/{name}" for name in found}


def test_everything_it_serves_is_for_everybody(house: House) -> None:
    agents = ["", *(one.user_agent(Mac(mac), serial=True) for mac, one in MACS.items() if mac in KINDS.values())]
    served: dict[str, set[bytes]] = {}
    with house.connection(None, "bootstrap") as caller:
        for name in sorted(names()):
            for agent in agents:
                caller.request("GET", f"/{name}", headers={"User-Agent": agent} if agent else {})
                answer = caller.getresponse()
                body = answer.read()
                assert answer.status in (200, 404), name
                assert answer.getheader("Content-Length") == str(len(body))
                if answer.status == 200:
                    served.setdefault(name, set()).add(body)
    assert len(served) > 50
    everything = b"\n".join(body for bodies in served.values() for body in bodies)
    for needle in (SECRET, ADMIN, "canary", "Person", "pbx-", *MACS):
        assert needle.encode() not in everything, needle
    assert b"PRIVATE KEY" not in everything
    assert not [name for name in served if re.search(r"[0-9a-f]{12}", name.lower()) and _is_devices(name)]


def _is_devices(name: str) -> bool:
    return any(mac in name.lower() for mac in (*KINDS.values(), "0004f2ffffff"))


def test_it_gives_the_ca_and_the_image_and_takes_nothing(house: House) -> None:
    assert house.get("/ca.pem", None, kind="bootstrap")[2] == house.ca.read_bytes()
    status, _, body = house.get(f"/{IMAGE}", None, kind="bootstrap", User_Agent="Yealink SIP-T46S 66.86.0.20")
    assert (status, hashlib.sha256(body).digest()) == (200, hashlib.sha256(b"image" * 100_000).digest())
    assert house.get("/other.rom", None, kind="bootstrap")[0] == 404
    mac = KINDS[Sequence.UCS]
    for method in ("PUT", "POST", "DELETE"):
        answer = house.get(f"/{mac}-app.log", None, kind="bootstrap", method=method, body=b"x" * 100)
        assert answer[::2] == (405, b"")
    assert not list((house.data / "uploads").rglob(f"{mac}/*"))
