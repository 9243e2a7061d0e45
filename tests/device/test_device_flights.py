"""The flight recorder of a whole server: each phone that fails leaves a record that says why, and no secret."""

import asyncio
import contextlib
import json
import ssl
import time
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from house import OTHER_VVX, T46S, VVX, House, administer, ask, soon, wrapped
from test_device_files import _dated

from provisioner import pki, settings
from provisioner.cli.main import cli
from provisioner.diagnosis.facts import Kind
from provisioner.fleet.flights import Flights
from provisioner.model import Mac
from provisioner.store.database import Store

AGENT = "FileTransport PolycomVVX-VVX_411-UA/5.9.4.3247 Type/Application"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    built = House.build(tmp_path_factory.mktemp("flights"), store_flush=0.1, recorder_address=600)

    async def fill():
        for mac, vendor, model, number in (
            (VVX, "poly", "VVX 411", "2001"), (OTHER_VVX, "poly", "VVX 411", "2004"), (T46S, "yealink", "T46S", "2002"),
        ):  # fmt: skip
            await built.add(mac, vendor, model, number)

    asyncio.run(fill())
    built.start()
    yield built
    built.stop()


@pytest.fixture(scope="module")
def token(house):
    """Good boots, by certificate and by token, begin before anything else: they are written some seconds later."""
    certificate = house.certificate("poly", VVX)
    for name in ("000000000000.cfg", f"{VVX}-phone.cfg", f"{VVX}.cfg"):
        assert house.get(f"/{name}", certificate, User_Agent=AGENT)[0] in (200, 404)

    async def opened(fleet):
        await fleet.allow(Mac(T46S), token=True)
        return await fleet.open_token(Mac(T46S), now=time.time(), window=60, fetches=20)

    text, _ = administer(house, opened)
    assert house.get(f"/t/{text}/{T46S}.cfg", None)[0] == 200
    assert house.get(f"/t/{text[:-1]}x/{T46S}.cfg", None, Authorization="Basic Y2FuYXJ5OnNlY3JldA==")[0] == 404
    return text


@pytest.fixture(autouse=True)
def _begun(token):
    """For all tests."""


def desk(house, action):
    async def run():
        configured = settings.load(house.data)
        async with Store.of(configured) as store:
            return await action(Flights(store, {}))

    return asyncio.run(run())


def flights(house, mac=None, **about):
    """The newest record that is so; waited for, as they are written in batches."""

    def look():
        found = desk(house, lambda one: one.flights(Mac(mac)) if mac else one.strangers(limit=200))
        return [one for one in found if all(getattr(one, name) == value for name, value in about.items())]

    for _ in range(60):
        if found := look():
            return found
        time.sleep(0.2)
    return []


def kinds(flight):
    return {fact.kind: fact for fact in flight.facts()}


def type_in(house, *words):
    found = CliRunner().invoke(cli, ["--data", str(house.data), *words, "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_an_expired_certificate_of_a_device_never_seen(house):
    now = datetime.now(UTC)
    expired = _dated(house, "yealink", house.certificate("yealink", T46S), now - timedelta(900), now - timedelta(400))
    assert house.get(f"/{T46S}.cfg", expired)[0] == 404
    (flight,) = flights(house, T46S, label="verdict_expired")
    facts = kinds(flight)
    assert facts[Kind.VERDICT]["verdict"] == "expired"
    assert float(facts[Kind.CHAIN]["not_after"]) < time.time()
    assert (flight.proven, facts[Kind.ANSWER]["reason"]) == (True, "not_identified")


def test_a_stranger_with_a_devices_name_and_one_who_says_nothing(house, tmp_path):
    forger = pki.make_factory("poly", tmp_path / "forger")
    certificate, key, above = forger.leaf(OTHER_VVX)
    (tmp_path / "leaf.pem").write_bytes(certificate + above)
    (tmp_path / "leaf.key").write_bytes(key)
    assert house.get(f"/{OTHER_VVX}.cfg", (tmp_path / "leaf.pem", tmp_path / "leaf.key"), User_Agent=AGENT)[0] == 404
    assert house.get(f"/{OTHER_VVX}.cfg", None)[0] == 404
    (forged,) = flights(house, OTHER_VVX, label="verdict_untrusted")
    (bare,) = flights(house, OTHER_VVX, label="verdict_none")
    assert not forged.proven and not bare.proven
    assert (forged.mac, forged.model) == (OTHER_VVX, "VVX 411")
    assert kinds(forged)[Kind.VERDICT]["certificate_mac"] == "", "nothing of it is proven"
    assert kinds(bare)[Kind.CHAIN]["length"] == "0"


def test_a_phone_that_refuses_us_is_known_by_its_address_alone(house):
    with pytest.raises(ssl.SSLCertVerificationError), wrapped(house, ssl.create_default_context()):
        pass
    (flight, *_) = flights(house, label="alert_unknown_ca")
    assert (flight.mac, flight.address) == ("", "127.0.0.1")
    found = desk(house, lambda one: one.strangers(addresses=["127.0.0.1"], limit=200))
    assert flight.id in {one.id for one in found}


def test_an_upload_and_a_foreign_file(house):
    with house.connection(house.certificate("poly", OTHER_VVX)) as phone:
        assert ask(phone, f"/{OTHER_VVX}-app.log", method="PUT", body=b"canary-body-of-a-log")[0] == 201
        assert ask(phone, f"/{VVX}.cfg")[0] == 403
    (flight,) = flights(house, OTHER_VVX, label="not_yours")
    facts = kinds(flight)
    assert (facts[Kind.UPLOAD]["bytes"], facts[Kind.REQUEST]["path"]) == ("20", f"{VVX}.cfg")
    assert facts[Kind.ANSWER]["why"] == f"{OTHER_VVX} asked for a file of {VVX}"


def test_the_command_line_shows_them(house):
    assert flights(house, OTHER_VVX, label="not_yours")
    (first, *_) = type_in(house, "flights", "of", OTHER_VVX)
    assert {fact["kind"] for fact in first["facts"]} >= {"accepted", "verdict"}
    assert type_in(house, "flights", "strangers", "--address", "127.0.0.1", "--limit", "3")
    assert {one["label"] for one in type_in(house, "flights", "troubles")} >= {"not_yours", "verdict_untrusted"}
    shown = CliRunner().invoke(cli, ["--data", str(house.data), "flights", "of", OTHER_VVX])
    assert shown.exit_code == 0 and "not_yours" in shown.stdout


def test_a_refused_issuer_is_trusted_and_its_phone_comes_in(house, tmp_path):
    """From the refusal over the mailbox to the boot; a running server takes the CA up by itself."""
    maker = pki.make_factory("yealink", tmp_path / "maker")
    mac = asyncio.run(house.add("001565000077", "yealink", "T46S", "2077"))
    certificate, key, above = maker.leaf(mac)
    (tmp_path / "leaf.pem").write_bytes(certificate + above + maker.root_pem.read_bytes())
    (tmp_path / "leaf.key").write_bytes(key)
    phone = tmp_path / "leaf.pem", tmp_path / "leaf.key"
    agent = "Yealink SIP-T46S 66.86.0.15 00:15:65:00:00:77"
    assert house.get(f"/{mac}.cfg", phone, User_Agent=agent)[0] == 404
    named = [one for one in soon(lambda: _of(house, mac)) if one["verdict"] == "untrusted"]
    (group,) = named
    assert (group["models"], group["open"], len(group["chain"])) == (["T46S"], True, 4)
    compared = [word for one in group["chain"][1:] for word in ("--fingerprint", one.rpartition(" ")[2])]
    added = type_in(house, "refused", "trust", group["id"], *compared)
    assert {one["vendor"] for one in added} == {"yealink"}

    def comes_in():
        with contextlib.suppress(OSError):
            time.sleep(0.2)
            return house.get(f"/{mac}.cfg", phone, User_Agent=agent)[0] == 200

    assert soon(comes_in, 20)
    quiet = type_in(house, "refused", "expect", group["id"], "--note", "it is trusted now")
    assert not quiet["open"]
    assert type_in(house, "refused", "show", group["id"])["expected"].keys() == {"T46S"}
    assert _of(house, mac) == []


def _of(house, mac):
    return [one for one in type_in(house, "refused", "list") if mac in one["macs"]]


def test_a_good_boot_with_a_connection_a_file_is_one_record(house):
    (flight,) = flights(house, VVX, label="ok")
    facts = kinds(flight)
    assert (flight.proven, flight.mac, flight.told["co"]) == (True, VVX, 3)
    assert (facts[Kind.VERDICT]["verdict"], facts[Kind.VERDICT]["certificate_mac"]) == ("unique", VVX)
    assert int(facts[Kind.CHAIN]["length"]) >= 2 and facts[Kind.TLS_DONE]["version"] == "TLSv1.3"
    asked = [fact["file"] for fact in flight.facts() if fact.kind is Kind.REQUEST]
    assert asked == ["000000000000.cfg", f"{VVX}-phone.cfg", f"{VVX}.cfg"]
    answer = next(fact for fact in flight.facts() if fact.kind is Kind.ANSWER)
    assert (answer["status"], len(answer["etag"])) == ("200", 16)


def test_no_secret_is_in_any_record(house, token):
    """Tokens and credentials that phones show are looked for in what is stored, unpacked."""
    assert flights(house, T46S, label="ok") and flights(house, label="verdict_none")
    everything = desk(house, lambda one: one.strangers(limit=200))
    for mac in (VVX, OTHER_VVX, T46S):
        everything += desk(house, lambda one, mac=mac: one.flights(Mac(mac)))
    told = json.dumps([dict(one.told) for one in everything])
    for secret in (token, "Y2FuYXJ5", "canary", "SIP secret"):
        assert secret not in told
    assert '"au": "Basic"' in told, "the scheme alone"
