"""Phones without a certificate of their own: HTTP Digest and token URLs, by the simulator and by curl."""

from __future__ import annotations

import asyncio
import http.client
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import SECRET, House
from stage import add, administer, boots_once, no_canary, no_traceback, phone, secret_of, soon, url

from provisioner import settings
from provisioner.fleet.flights import Flights
from provisioner.flight import Flight
from provisioner.model import Mac
from provisioner.simulator import Outcome
from provisioner.store.database import Store

DIGEST, VVX, OBI, PLAIN, TOKEN = "001565c00001", "0004f2c00002", "9cadefc00003", "001565c00004", "001565c00005"
UNKNOWN = "001565cfffff"


@pytest.fixture(scope="module")
def house(blank: House, room: Path) -> Iterator[House]:
    built = blank.copy(room, digest_enabled="true", digest_algorithms="SHA-256,MD5", store_flush=0.2)
    models = {DIGEST: "T46S", VVX: "VVX 411", OBI: "OBi302", PLAIN: "T46S", TOKEN: "T46S"}
    vendors = {VVX: "poly", OBI: "poly"}
    add(built, *((mac, vendors.get(mac, "yealink"), model, f"80{mac[-4:]}") for mac, model in models.items()))
    built.start()
    yield built
    built.stop()
    no_traceback(built)
    no_canary(built)


@pytest.fixture(scope="module")
def passwords(house: House) -> dict[str, str]:
    found = {}
    for mac in (DIGEST, VVX, OBI):
        administer(house, lambda fleet, mac=mac: fleet.allow(Mac(mac), digest=True))
        found[mac] = administer(house, lambda fleet, mac=mac: fleet.set_digest(Mac(mac)))
    time.sleep(1)  # a change is everywhere within that
    return found


def number(mac: str) -> str:
    return f"80{mac[-4:]}"


def bare(house: House, model: str, vendor: str, mac: str, **habits: object):  # type: ignore[no-untyped-def]  # a Phone
    return phone(house, model, vendor, mac, certificate=None, **habits)


@pytest.mark.parametrize(("model", "vendor", "mac"), [("T46S", "yealink", DIGEST), ("VVX 411", "poly", VVX)])
def test_a_phone_registers_by_its_digest_password(house, passwords, model, vendor, mac) -> None:
    report = boots_once(bare(house, model, vendor, mac, user=mac, password=passwords[mac]), url(house))
    assert report.outcome is Outcome.REGISTERED, report.refused_because
    assert [(one.user, one.secret) for one in report.lines] == [(number(mac), secret_of(mac, number(mac)))]
    assert soon(lambda: "digest" in proofs(house, mac))
    assert passwords[mac] not in house.log()


def test_an_adapter_takes_its_password_from_the_url(house: House, passwords: dict[str, str]) -> None:
    address = url(house).replace("://", f"://{OBI}:{passwords[OBI]}@")
    report = boots_once(bare(house, "OBi302", "poly", OBI), address)
    assert report.outcome is Outcome.REGISTERED, report.refused_because


def proofs(house: House, mac: str) -> set[str]:
    return {str(one.proof) for one in administer(house, lambda fleet: fleet.fetches(Mac(mac)))}


def test_a_phone_with_a_wrong_password_gets_nothing(house: House, passwords: dict[str, str]) -> None:
    for user, password in ((DIGEST, "wrong"), (DIGEST, passwords[VVX]), (PLAIN, passwords[DIGEST]), (UNKNOWN, "x")):
        report = boots_once(bare(house, "T46S", "yealink", user, user=user, password=password), url(house))
        assert (report.outcome, report.parameters) == (Outcome.REFUSED, {}), user


def test_one_password_opens_no_other_phones_file(house: House, passwords: dict[str, str]) -> None:
    habits = {"user": DIGEST, "password": passwords[DIGEST], "ask_for": Mac(PLAIN)}
    report = boots_once(bare(house, "T46S", "yealink", DIGEST, **habits), url(house))
    assert report.outcome is not Outcome.REGISTERED
    assert {step.status for step in report.steps if PLAIN in step.path} <= {401, 403}
    assert SECRET not in repr(dict(report.parameters))


def curl(house: House, path: str, user: str, *more: str) -> tuple[str, bytes]:
    # A configuration on stdin keeps the password out of the process table.
    command = [
        "curl",
        "-sS",
        "--noproxy",
        "*",
        "--cacert",
        house.ca,
        "--digest",
        "-K",
        "-",
        "-w",
        "%{http_code}",
        *more,
    ]
    given = f'user = "{user}"\nurl = "{url(house)}{path}"\n'
    done = subprocess.run(command, input=given.encode(), capture_output=True, check=True, timeout=20)
    return done.stdout[-3:].decode(), done.stdout[:-3]


def test_curl_by_digest(house: House, passwords: dict[str, str]) -> None:
    status, body = curl(house, f"{DIGEST}.cfg", f"{DIGEST}:{passwords[DIGEST]}")
    assert status == "200"
    assert secret_of(DIGEST, number(DIGEST)).encode() in body
    for user in (f"{DIGEST}:wrong", f"{UNKNOWN}:wrong", f"{PLAIN}:wrong", "no-mac:wrong", f"{DIGEST}:"):
        assert curl(house, f"{DIGEST}.cfg", user) == ("401", b""), user
    assert curl(house, f"{PLAIN}.cfg", f"{DIGEST}:{passwords[DIGEST]}")[0] == "403"


def test_nobody_learns_from_a_401_which_devices_there_are(house: House, passwords: dict[str, str]) -> None:
    def told(mac: str) -> tuple[int, str, bytes]:
        header = f'Digest username="{mac}", realm="provisioner", nonce="x", uri="/{mac}.cfg", response="{"0" * 32}"'
        with house.connection(None) as made:
            made.request("GET", f"/{mac}.cfg", headers={"Authorization": header})
            answer = made.getresponse()
            text = re.sub(r'(?i)nonce="[^"]+"|date: .*', "", str(answer.headers))
            return answer.status, text, answer.read()

    answers = {told(mac) for mac in (DIGEST, PLAIN, TOKEN, UNKNOWN)}
    assert len(answers) == 1
    ((status, headers, body),) = answers
    assert (status, body) == (401, b"")
    assert headers.lower().count("www-authenticate: digest") == 2, headers


def test_who_has_the_name_of_a_device_and_not_its_password_is_not_recorded_as_it(house: House) -> None:
    assert curl(house, f"{TOKEN}.cfg", f"{TOKEN}:wrong")[0] == "401"

    async def flights() -> list[Flight]:
        async with Store.of(settings.load(house.data)) as store:
            return await Flights(store, {}).flights(Mac(TOKEN))

    found = soon(lambda: asyncio.run(flights()))
    assert [one.proven for one in found] == [False] * len(found) != []


def test_a_certificate_goes_before_and_one_of_a_stranger_gets_no_challenge(house: House, tmp_path: Path) -> None:
    report = boots_once(phone(house, "T46S", "yealink", PLAIN), url(house))
    assert report.outcome is Outcome.REGISTERED
    assert 401 not in [step.status for step in report.steps]


# --- token ----------------------------------------------------------------------------------------


def opened(house: House, mac: str, fetches: int = 40) -> str:
    administer(house, lambda fleet: fleet.allow(Mac(mac), token=True))
    token, _ = administer(house, lambda fleet: fleet.open_token(Mac(mac), now=time.time(), window=60, fetches=fetches))
    return token


def test_a_phone_registers_by_its_token_and_stays_on_it(house: House) -> None:
    token = opened(house, TOKEN)
    address = f"{url(house)}t/{token}/"
    report = soon(
        lambda: next(filter(lambda one: one.lines, [boots_once(bare(house, "T46S", "yealink", TOKEN), address)]), None)
    )
    assert report, "no line"
    assert report.lines[0].secret == secret_of(TOKEN, number(TOKEN))
    assert report.parameters["static.auto_provision.server.url"] == address
    assert soon(lambda: proofs(house, TOKEN) == {"token"})
    thief = boots_once(bare(house, "T46S", "yealink", TOKEN, ask_for=Mac(PLAIN)), address)
    assert not thief.lines
    assert token not in house.log()
    assert token.encode() not in house.get("/metrics", None, kind="admin")[2]


def test_a_token_spent_in_the_middle_of_a_boot_leaves_no_half_of_it(house: House) -> None:
    token = opened(house, TOKEN, fetches=2)
    time.sleep(0.5)
    report = boots_once(bare(house, "T46S", "yealink", TOKEN), f"{url(house)}t/{token}/")
    assert [step.status for step in report.steps].count(200) == 2
    assert not report.lines
    assert house.get(f"/t/{token}/{TOKEN}.cfg", None)[0] in (401, 404)


def test_a_token_is_not_told_from_its_absence(house: House) -> None:
    token = opened(house, TOKEN)
    administer(house, lambda fleet: fleet.revoke_tokens(Mac(TOKEN)))

    def told(path: str) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = house.get(path, None)
        return status, {key: value for key, value in headers.items() if key != "date"}, body

    assert told(f"/t/{token}/{TOKEN}.cfg") == told(f"/t/{'A' * len(token)}/{TOKEN}.cfg")
    assert told(f"/t/{token}/{TOKEN}.cfg")[0] == http.client.NOT_FOUND
