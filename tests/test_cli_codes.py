"""Activation codes on the command line: what a newcomer types, and what a script reads."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from provisioner import settings
from provisioner.activation.activation import Activation
from provisioner.activation_verdict import Attempt, Outcome
from provisioner.codes import checks, normalise
from provisioner.model import FetchRecord, ListenerKind, Mac, Proof
from provisioner.progress import UNPLUG
from provisioner.store.database import Store
from provisioner.store.records import Recorder
from provisioner.vendors import drivers

Run = Callable[..., Result]
Asked = Callable[..., Any]
MAC = "0004f2aabbcc"
COLONS = "00:04:f2:aa:bb:cc"


@pytest.fixture
def person(run: Run, office: None) -> None:
    """1002 has no phone yet; 1001 of the office has."""
    run("extension", "add", "1002", "--account", "Example Ltd", "--user", "Ada Byron")


def test_issue_prints_the_code_in_groups_and_until_when(run: Run, person: None) -> None:
    shown, until = run("code", "issue", "1002", "--life", "7d").stdout.splitlines()
    assert re.fullmatch(r"\d{4}-\d{4}-\d{4}", shown) and checks(normalise(shown))
    assert re.fullmatch(r"for extension 1002, until \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", until)
    assert run("code", "reveal", "1002").stdout.splitlines()[0] == shown
    assert shown not in run("events").stdout and shown not in run("code", "list", "--json").stdout


def test_a_script_reads_everything_about_it(asked: Asked, person: None) -> None:
    told = asked("code", "issue", "1002", "--model", "VVX 411", "--mac", "00-04-F2-00-00-99", "--site", "Head Office")
    assert told["digits"] == normalise(told["code"])
    assert (told["number"], told["model"], told["mac"], told["replaces"]) == ("1002", "VVX 411", "0004f2000099", False)
    [listed] = asked("code", "list", "--state", "issued")
    assert (listed["id"], listed["state"], listed["expires"]) == (told["id"], "issued", told["expires"])
    assert not {"digits", "code", "sealed", "finder"} & set(listed)
    again = asked("code", "reissue", "1002", "--life", "12h")
    assert again["id"] != told["id"] and again["mac"] == told["mac"] and again["expires"] < told["expires"]
    asked("code", "revoke", "1002")
    assert {one["state"] for one in asked("code", "list", "--account", "Example Ltd")} == {"revoked"}


def test_what_stands_in_the_way_is_told_with_its_reason(run: Run, asked: Asked, person: None) -> None:
    error = run("code", "issue", "1001", code=1).stderr
    assert COLONS in error and "--replace" in error
    rows = {row["check"]: row for row in asked("code", "check", "1001", "--model", "SoundPoint IP 450", code=1)}
    assert rows["extension"]["reason"] == "extension_has_phone"
    assert rows["ivr"]["reason"] == "ivr_unsupported_model" and "device bind" in rows["ivr"]["why"]
    assert rows["license"]["ok"]
    assert all(row["ok"] for row in asked("code", "check", "1002"))
    run("code", "issue", "1002")
    [wrong] = [row for row in asked("code", "check", "1002", code=1) if not row["ok"]]
    assert (wrong["check"], wrong["reason"]) == ("code", "extension_has_code") and "code reissue 1002" in wrong["why"]
    assert wrong["why"] in run("code", "issue", "1002", code=1).stderr
    run("code", "revoke", "1002")
    assert all(row["ok"] for row in asked("code", "check", "1002"))
    assert (
        '"kind": "ivr_unsupported_model"'
        in run("code", "issue", "1002", "--model", "SoundPoint IP 450", "--json", code=1).stderr
    )


@pytest.mark.parametrize(
    "words",
    [
        ["code", "issue"],
        ["code", "issue", "1002", "--life", "soon"],
        ["code", "issue", "1002", "--life", "-1d"],
        ["code", "issue", "1002", "--life", "30m"],
        ["code", "reissue", "1002", "--life", "91d"],
        ["code", "issue", "1002", "--mac", "nonsense"],
        ["code", "list", "--state", "lost"],
        ["code", "forgive", "1002"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(run: Run, person: None, words: list[str]) -> None:
    assert "Usage:" in run(*words, code=2).stderr


@pytest.mark.parametrize("life", ["59m", "91d", "0"])
def test_a_life_beyond_the_bounds_is_refused(run: Run, person: None, life: str) -> None:
    run("code", "issue", "1002")
    for verb in ("issue", "reissue"):
        said = run("code", verb, "1002", "--life", life, code=2).stderr
        assert "1 h to 90 d" in said and "already" not in said


def test_refusals_are_exit_code_1(run: Run, person: None) -> None:
    run("code", "issue", "1002")
    for words in (
        ["issue", "1002"],
        ["issue", "4711"],
        ["reveal", "1001"],
        ["revoke", "1001"],
        ["reissue", "1001"],
        ["issue", "1002", "--site", "Atlantis"],
        ["issue", "1002", "--account", "Nobody"],
    ):
        refused = run("code", *words, code=1)
        assert refused.stdout == "" and refused.stderr.count("\n") == 1


@pytest.mark.parametrize(("verb", "word"), [("mail", "mailed"), ("reveal", "read"), ("revoke", "taken back")])
def test_of_a_code_that_is_over_it_is_said_what_works(run: Run, person: None, verb: str, word: str) -> None:
    """And it does: what is advised is done."""
    run("code", "issue", "1002")
    run("code", "revoke", "1002")
    said = run("code", verb, "1002", code=1).stderr
    assert "the code of extension 1002 is revoked" in said and word in said
    advised = re.findall(r"`provisioner ([^`]*)`", said)
    assert advised == ["code issue 1002"]
    run(*advised[0].split())


def test_a_phone_that_was_not_locked_out_need_not_be_forgiven(run: Run, person: None) -> None:
    assert "was not locked out" in run("code", "forgive", MAC).stdout


def test_the_settings_decide_length_and_life(asked: Asked, person: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_ACTIVATION_DIGITS", "13")
    monkeypatch.setenv("PROVISIONER_ACTIVATION_LIFE", "3600")
    told = asked("code", "issue", "1002")
    assert len(told["digits"]) == 13 and re.fullmatch(r"\d{4}-\d{4}-\d{5}", told["code"])
    [listed] = asked("code", "list")
    assert listed["expires"] - listed["created"] == 3600


def test_device_show_says_how_far_the_phone_is(run: Run, asked: Asked, person: None) -> None:
    told = asked("device", "show", MAC)
    assert (told["mac"], told["activation"]) == (MAC, "waiting")
    run("device", "unbind", MAC, "1")
    assert asked("device", "show", MAC)["activation"] == "unbound"
    assert "what to do" not in run("device", "show", MAC).stdout


async def _keyed_in(data: Path, code: str, mac: Mac, at: float) -> Outcome:
    configured = settings.load(data)
    known = {one.manifest.name: one for one in drivers()}
    async with Store.of(configured) as store:
        activation = Activation(store, known, configured, clock=lambda: at)
        attempt = Attempt(mac=mac, code=code, vendor="poly", model="VVX 411", source="192.0.2.7", authenticated=True)
        return (await activation.redeem(attempt)).outcome


async def _fetched(data: Path, mac: Mac, at: float) -> None:
    configured = settings.load(data)
    proof, listener = Proof.CERTIFICATE, ListenerKind.DEVICE
    async with Store.of(configured) as store:
        recorder = Recorder(store, configured, lambda *_: None)
        recorder.fetch(FetchRecord(mac, f"{mac}-lines.cfg", at, 200, 3, "d", proof, listener, "TLSv1.3", "", 1 << 40))
        await recorder.flush()


def test_a_phone_that_does_not_come_after_its_code_is_to_be_unplugged_until_it_comes(
    run: Run, asked: Asked, person: None, data: Path
) -> None:
    """The code was used two minutes ago, and nothing was fetched since; the first fetch is the end of the hint."""
    mac, now = Mac("0004f2aabbdd"), time.time()
    run("device", "add", mac, "--vendor", "poly", "--model", "VVX 411", "--account", "Example Ltd")
    run("layer", "set", "account", "Example Ltd", "activation=on")
    asyncio.run(_fetched(data, mac, now - 400))
    code = asked("code", "issue", "1002")["digits"]

    def hint() -> tuple[str, str]:
        """In the list of codes and of the device; both as a person reads them and as a script does."""
        [listed] = [one for one in asked("code", "list") if one["number"] == "1002"]
        shown = asked("device", "show", mac)
        assert listed["phone"] == shown["activation"]
        told = shown.get("what_to_do", "")
        assert (UNPLUG in run("code", "list").stdout) == (told == UNPLUG)
        assert (UNPLUG in run("device", "show", mac).stdout) == (told == UNPLUG)
        return shown["activation"], told

    assert asyncio.run(_keyed_in(data, code, mac, now - 121)) is Outcome.ACCEPTED
    assert hint() == ("waiting", UNPLUG)
    asyncio.run(_fetched(data, mac, time.time()))
    assert hint() == ("activating", "")


def test_the_hint_gives_the_phone_two_minutes(run: Run, asked: Asked, person: None, data: Path) -> None:
    mac = Mac("0004f2aabbdd")
    run("device", "add", mac, "--vendor", "poly", "--model", "VVX 411", "--account", "Example Ltd")
    run("layer", "set", "account", "Example Ltd", "activation=on")
    code = asked("code", "issue", "1002")["digits"]
    assert asyncio.run(_keyed_in(data, code, mac, time.time() - 90)) is Outcome.ACCEPTED
    assert "what_to_do" not in asked("device", "show", mac) and UNPLUG not in run("code", "list").stdout
