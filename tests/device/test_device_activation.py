"""A phone that is nobody's yet, at a real server: what it gets, who else gets nothing, and that it ends with a line."""

import http.client
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from house import House, administer, ask, events, soon

from provisioner.activation_secret import PURPOSE, credential
from provisioner.errors import NotFound
from provisioner.model import Mac, Scope
from provisioner.simulator import Phone, boot_now, load_persona
from provisioner.simulator.report import Outcome
from provisioner.store.database import key_path
from provisioner.store.secretbox import SecretBox

CURVE = ec.SECP256R1()
ADMIN = "canary-Admin-Xk4!"
KINDS = [
    ("poly", "VVX 411", "0004f2", "-user.cfg"),
    ("yealink", "T46S", "001565", ".cfg"),
    ("poly", "OBi302", "9cadef", ".xml"),
]
EACH_KIND = pytest.mark.parametrize("kind", KINDS, ids=["ucs", "yealink", "obi"])
VVX_UA = "FileTransport PolycomVVX-VVX_411-UA/6.4.7.4560 (SN:0004f2000001) Type/Application"
_numbers = iter(range(0x100, 0x1000))


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    return House.build(tmp_path_factory.mktemp("blank"))


@pytest.fixture(scope="module")
def house(blank, tmp_path_factory):
    """Two workers; Acme lets its phones ask for a code, Other does not; strangers may from 127.0.0.0/30 only."""
    built = blank.copy(
        tmp_path_factory.mktemp("activation"),
        activation_networks="127.0.0.0/30",
        server_workers=2,
        store_poll=0.05,
        legacy_port=0,
    )

    async def fill(fleet):
        for name, offer in (("Acme", True), ("Other", None)):
            account = (await fleet.add_account(name)).id
            await fleet.add_site(f"{name} Berlin", account=account)
            given = {"password.admin": ADMIN, "sip.server": "pbx.example.net"}
            await fleet.set_layer(Scope.ACCOUNT, account, given | ({"activation": True} if offer else {}))

    administer(built, fill)
    built.start()
    yield built
    built.stop()


def fresh(oui):
    return f"{oui}{next(_numbers):06x}"


def add(house, kind, account="Acme", site=""):
    vendor, model, oui, _ = kind
    mac = Mac(fresh(oui))
    administer(house, lambda fleet: fleet.add_device(mac, vendor=vendor, model=model, account=account, site=site))
    return mac


def certificate(house, vendor, mac, **leaf):
    return house.certificate(vendor, mac, **(leaf or {"curve": CURVE}))


def boot(house, kind, mac, **habits):
    vendor, model, _, _ = kind
    chain, key = certificate(house, vendor, mac)
    given = {"patience": 20.0, "attempts": 1, "retry_delay": 0.1, "trust": house.ca, "certificate": chain, "key": key}
    phone = Phone(persona=load_persona(vendor, model), mac=Mac(mac), **(given | habits))
    return boot_now(phone, f"https://localhost:{house.ports['device']}/")


def path_of(kind, mac):
    name = mac.upper() if kind[1].startswith("OBi") else mac
    return f"/{name}{kind[3]}"


def agent(kind, mac):
    return {"User_Agent": {"VVX 411": VVX_UA, "OBi302": "OBi302"}.get(kind[1], f"Yealink SIP-T46S 66.86.0.15 {mac}")}


def get(house, kind, mac, source="127.0.0.1", **leaf):
    """One request for the device's own file, from an address of this machine."""
    context = house.context(certificate(house, kind[0], mac, **leaf))
    connection = http.client.HTTPSConnection(
        "127.0.0.1", house.ports["device"], timeout=10, context=context, source_address=(source, 0)
    )
    try:
        return ask(connection, path_of(kind, mac), **agent(kind, mac))
    finally:
        connection.close()


def key_of(house):
    return SecretBox.load(key_path(house.data)).derived(PURPOSE)[0]


def waits(house, report, mac):
    """Everything that makes it a waiting phone."""
    (line,) = report.lines
    assert report.outcome is Outcome.REGISTERED
    assert (line.number, line.user, line.server, line.transport) == (1, mac, "localhost:5060", "udp")
    assert credential(key_of(house), line.auth_user, time.time(), 86_400) == (mac, line.secret)
    assert line.hotline == "2288"
    assert ADMIN not in repr(sorted(report.parameters.values()))
    assert "pbx.example.net" not in repr(report.parameters)
    return line


# --- who gets it ----------------------------------------------------------------------------------


@EACH_KIND
def test_a_phone_without_a_line_registers_to_the_prompts_alone(house, kind):
    mac = add(house, kind)
    report = boot(house, kind, mac)
    line = waits(house, report, mac)
    if kind[1] != "OBi302":  # an adapter has no screen
        assert line.label == "Activate (no emergency calls)"
    assert boot(house, kind, mac).digest == report.digest, "a second boot is told something else"


@EACH_KIND
def test_a_phone_that_nobody_has_added_gets_it_by_its_network_and_no_row(house, kind):
    mac = Mac(fresh(kind[2]))
    waits(house, boot(house, kind, mac), mac)
    assert soon(lambda: [one for one in administer(house, lambda fleet: fleet.seen()) if one.mac == mac])
    with pytest.raises(NotFound):
        administer(house, lambda fleet: fleet.device(mac))
    assert get(house, kind, mac, source="127.0.0.9")[::2] == (404, b""), "another network"


@EACH_KIND
def test_it_ends_when_the_phone_is_somebody_s(house, kind):
    mac = add(house, kind)
    waits(house, boot(house, kind, mac), mac)
    number = str(int(mac[-4:], 16) + 10_000)

    async def bind(fleet):
        user = await fleet.add_user(f"Person {number}", account="Acme")
        await fleet.add_extension(number, account="Acme", user=user.id, secret="its-own-1")
        await fleet.bind(mac, 1, extension=number)

    administer(house, bind)
    time.sleep(0.5)
    (line,) = boot(house, kind, mac).lines
    assert (line.user, line.secret, line.hotline) == (number, "its-own-1", "")
    administer(house, lambda fleet: fleet.unbind(mac, 1))
    time.sleep(0.5)
    waits(house, boot(house, kind, mac), mac)


def test_a_waiting_phone_gets_none_of_its_former_user_s_uploads(house):
    mac = add(house, KINDS[0])
    number = str(int(mac[-4:], 16) + 10_000)

    async def bind(fleet):
        user = await fleet.add_user(f"Person {number}", account="Acme")
        await fleet.add_extension(number, account="Acme", user=user.id)
        await fleet.bind(mac, 1, extension=number)

    administer(house, bind)
    time.sleep(0.5)
    names = [f"/{mac}{end}" for end in ("-phone.cfg", "-directory.xml", "-calls.xml")]
    with house.connection(certificate(house, "poly", mac)) as phone:
        for name in names:
            assert ask(phone, name, method="PUT", body=b"<theirs/>", User_Agent=VVX_UA)[0] == 201
            assert ask(phone, name, User_Agent=VVX_UA)[::2] == (200, b"<theirs/>")
    fresh_one = add(house, KINDS[0])
    with house.connection(certificate(house, "poly", fresh_one)) as phone:
        none = [ask(phone, name.replace(mac, fresh_one), User_Agent=VVX_UA)[::2] for name in names]
    administer(house, lambda fleet: fleet.unbind(mac, 1))
    time.sleep(0.5)
    with house.connection(certificate(house, "poly", mac)) as phone:
        assert [ask(phone, name, User_Agent=VVX_UA)[::2] for name in names] == none
    assert none == [(404, b"")] * 3


def test_a_site_or_device_may_have_another_policy_than_its_account(house):
    mac = add(house, KINDS[1])
    administer(house, lambda fleet: fleet.set_layer(Scope.DEVICE, mac, {"activation": False}))
    assert boot(house, KINDS[1], mac).outcome is Outcome.IDLE
    site = next(one for one in administer(house, lambda fleet: fleet.sites()) if one.name == "Other Berlin").id
    administer(
        house, lambda fleet: fleet.set_layer(Scope.SITE, site, {"activation": True, "activation.emergency": "sos"})
    )
    other = add(house, KINDS[1], "Other", site)
    assert waits(house, boot(house, KINDS[1], other), other).label == "Activate"


def test_an_ip450_is_told_whom_to_ask(house):
    kind = ("poly", "SoundPoint IP 450", "0004f2", "-user.cfg")
    mac = add(house, kind)
    assert waits(house, boot(house, kind, mac), mac).label.startswith("Ask your administrator")


def test_both_workers_and_the_next_start_say_the_same(house):
    mac = add(house, KINDS[1])
    secret = re.compile(rb"account\.1\.(?:auth_name|password) = (\S+)")
    bodies = {get(house, KINDS[1], mac)[2] for _ in range(12)}
    assert len(bodies) == 1
    house.stop()
    house.start()
    now = get(house, KINDS[1], mac)[2]
    assert secret.findall(now) == secret.findall(*bodies)
    assert len(secret.findall(now)) == 2


@EACH_KIND
def test_an_unchanged_file_is_not_sent_again(house, kind):
    for mac in (add(house, kind), Mac(fresh(kind[2]))):
        with house.connection(certificate(house, kind[0], mac)) as phone:
            path, said = path_of(kind, mac), agent(kind, mac)
            status, headers, body = ask(phone, path, **said)
            assert status == 200
            assert body
            assert ask(phone, path, If_None_Match=headers["etag"], **said)[::2] == (304, b"")
            head = ask(phone, path, method="HEAD", **said)
            assert (head[0], head[1]["content-length"], head[2]) == (200, str(len(body)), b"")


def test_an_offer_is_an_event_without_the_secret(house):
    mac = Mac(fresh("001565"))
    line = waits(house, boot(house, KINDS[1], mac), mac)
    found = events(house, "activation_offered", mac)
    assert 1 <= len(found) <= 2, "one a worker and hour"
    assert found[0].details["device"] == "nobody has added it"
    assert line.secret not in repr(found)
    assert line.secret not in house.log()


def test_the_command_line_shows_it_masked(house):
    mac = add(house, KINDS[1])
    secret = waits(house, boot(house, KINDS[1], mac), mac).secret

    def run(*more):
        command = [sys.executable, "-m", "provisioner", "--data", str(house.data), "render", mac, *more]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60, env=dict(os.environ)
        ).stdout

    shown = run()
    assert "features.hotline_number = 2288" in shown
    assert f"account.1.user_name = {mac}" in shown
    assert secret not in shown
    assert secret in run("--reveal")


# --- who does not ---------------------------------------------------------------------------------


@EACH_KIND
def test_without_a_policy_it_is_idle_as_ever(house, kind):
    mac = add(house, kind, "Other")
    report = boot(house, kind, mac)
    assert report.outcome is Outcome.IDLE
    assert report.lines == ()
    assert ADMIN in repr(sorted(report.parameters.values()))


@EACH_KIND
def test_a_revoked_device_gets_nothing(house, kind):
    mac = add(house, kind)
    administer(house, lambda fleet: fleet.revoke_device(mac))
    time.sleep(0.3)
    assert get(house, kind, mac)[::2] == (404, b"")


@pytest.mark.parametrize("known", [True, False], ids=["added", "stranger"])
def test_no_certificate_but_a_unique_one_is_enough(house, known):
    past = {"not_before": datetime.now(UTC) - timedelta(days=900), "not_after": datetime.now(UTC) - timedelta(days=9)}
    for leaf in ({"generic": True}, {**past, "curve": CURVE}):
        mac = add(house, KINDS[1]) if known else Mac(fresh("001565"))
        assert get(house, KINDS[1], mac, **leaf)[::2] == (404, b"")
    assert house.get("/0015650000ff.cfg", None)[::2] == (404, b"")


@pytest.mark.parametrize("known", [True, False], ids=["added", "stranger"])
def test_the_legacy_listener_offers_nothing(house, known):
    mac = add(house, KINDS[1]) if known else Mac(fresh("001565"))
    with house.connection(certificate(house, "yealink", mac, bits=2048), "legacy") as phone:
        assert ask(phone, f"/{mac}.cfg", **agent(KINDS[1], mac))[::2] == (404, b"")
    assert get(house, KINDS[1], mac, bits=2048)[0] == 200


@pytest.mark.parametrize("known", [True, False], ids=["added", "stranger"])
def test_another_vendor_s_name_opens_nothing(house, known):
    mac = add(house, KINDS[0]) if known else Mac(fresh("0004f2"))
    with house.connection(certificate(house, "poly", mac)) as phone:
        assert ask(phone, "/y000000000066.cfg", User_Agent=f"Yealink SIP-T46S 66.86.0.15 {mac}")[0] == 404
        assert ask(phone, f"/{fresh('0004f2')}-user.cfg", User_Agent=VVX_UA)[0] == 403


def test_a_stranger_of_no_known_model_or_too_old_a_release_is_refused(house):
    mac = Mac(fresh("0004f2"))
    with house.connection(certificate(house, "poly", mac)) as phone:
        path = f"/{mac}-user.cfg"
        assert ask(phone, path)[0] == 404
        assert ask(phone, path, User_Agent=VVX_UA.replace("6.4.7.4560", "5.1.0.1"))[0] == 404
        assert ask(phone, path, User_Agent=VVX_UA)[0] == 200
        assert ask(phone, "/3111-48450-001.sip.ld", User_Agent=VVX_UA)[0] == 404
        assert ask(phone, f"/{mac}-phone.cfg", method="PUT", body=b"<x/>", User_Agent=VVX_UA)[0] == 404


def test_a_token_is_no_certificate(house):
    mac = add(house, KINDS[1])

    async def opened(fleet):
        await fleet.allow(mac, token=True)
        return (await fleet.open_token(mac))[1]

    path = administer(house, opened)
    time.sleep(0.3)
    status, _, body = house.get(f"{path}{mac}.cfg", None)
    assert status == 200
    assert b"2288" not in body


# --- other settings -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other(blank, tmp_path_factory):
    """A secret for each fetch, SIP over TLS, and few fetches at once."""
    chosen = {"secret_life": 0, "networks": "127.0.0.1/32", "transport": "tls", "offers": 60, "offers_burst": 20}
    named = {f"activation_{name}": value for name, value in chosen.items()}
    built = blank.copy(tmp_path_factory.mktemp("other"), **named)
    built.start()
    yield built
    built.stop()


def test_each_connection_may_have_a_secret_of_its_own(other):
    mac = Mac(fresh("001565"))
    secret = re.compile(rb"account\.1\.password = (\S+)")
    seen = []
    for _ in range(3):
        with other.connection(certificate(other, "yealink", mac)) as phone:
            said = agent(KINDS[1], mac)
            twice = {secret.search(ask(phone, f"/{mac}.cfg", **said)[2])[1] for _ in range(2)}
            assert len(twice) == 1, "one connection, one secret"
            seen += twice
    assert len(set(seen)) == 3


def test_over_tls_the_phone_is_given_our_ca(other):
    mac = Mac(fresh("001565"))
    report = boot(other, KINDS[1], mac)
    (line,) = report.lines
    assert (line.server, line.transport) == ("localhost:5061", "tls")
    assert report.parameters["static.trusted_certificates.url"].endswith("/yealink-ca.pem")
    status, _, pem = other.get("/yealink-ca.pem", certificate(other, "yealink", mac), **agent(KINDS[1], mac))
    assert (status, pem.split()) == (200, other.ca.read_bytes().split())


def test_a_phone_in_a_loop_waits_and_its_neighbour_does_not(other):
    def timed(mac, times):
        with other.connection(certificate(other, "yealink", mac)) as phone:
            said, took = agent(KINDS[1], mac), []
            for _ in range(times):
                began = time.monotonic()
                assert ask(phone, f"/{mac}.cfg", **said)[0] == 200
                took.append(time.monotonic() - began)
        return took

    took = timed(Mac(fresh("001565")), 22)
    assert max(took[:20]) < 0.5
    assert max(took[20:]) > 0.5
    assert max(timed(Mac(fresh("001565")), 2)) < 0.5
