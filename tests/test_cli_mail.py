"""Mails and code sheets on the command line: what an operator types, and what a script reads."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from lxml import html

Run = Callable[..., Result]
Asked = Callable[..., Any]


@pytest.fixture
def person(run: Run, office: None) -> None:
    """1002 and 1003 have no phone yet."""
    for number in ("1002", "1003"):
        run("extension", "add", number, "--account", "Example Ltd", "--user", "Ada Byron")


@pytest.fixture
def mail_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_MAIL_HOST", "mail.example.net")
    monkeypatch.setenv("PROVISIONER_MAIL_FROM", "tel@example.com")


def test_a_code_is_mailed_only_where_there_is_a_server_and_an_address(
    run: Run, person: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "mail is off: set mail.host" in run("code", "issue", "1002", "--mail", code=1).stderr
    monkeypatch.setenv("PROVISIONER_MAIL_HOST", "mail.example.net")
    refused = run("code", "issue", "1002", "--mail", "--json", code=1).stderr
    assert '"kind": "no_address"' in refused and "provisioner user set-email" in refused
    assert "none" in run("code", "list").stderr
    run("user", "set-email", "Ada Byron", "ada@example.net")
    assert "will be mailed to ada@example.net" in run("code", "issue", "1002", "--mail").stdout


def test_addresses_are_set_corrected_and_taken_away(run: Run, asked: Asked, office: None) -> None:
    run("user", "add", "Bob", "--account", "Example Ltd", "--email", "bob@example.net")
    assert "mail address" in run("user", "set-email", "Bob", "bob@@example.net", code=1).stderr
    assert "has the address" in run("user", "set-email", "Ada Byron", "bob@example.net", code=1).stderr
    assert asked("user", "set-email", "Bob", "bob@example.net")["email"] == "bob@example.net", (
        "their own is no conflict"
    )
    assert asked("user", "set-email", "Bob", "")["email"] == ""
    assert {one["email"] for one in asked("user", "list")} == {""}


def test_the_state_of_a_mail_stands_beside_its_code(run: Run, asked: Asked, person: None, mail_on: None) -> None:
    run("user", "set-email", "Ada Byron", "ada@example.net")
    told = asked("code", "issue", "1002", "--mail")
    assert (told["mailed_to"], told["not_mailed"]) == ("ada@example.net", "")
    assert [one["mail"] for one in asked("code", "list")] == ["queued"]
    again = asked("code", "mail", "1002")
    assert again["to"] == "ada@example.net" and again["message"] != told["message"]
    first, second = asked("outbox", "list", "--state", "dropped"), asked("outbox", "list", "--state", "queued")
    assert [one["id"] for one in first] == [told["message"]] and [one["id"] for one in second] == [again["message"]]
    shown = run("outbox", "list").stdout + run("outbox", "show", str(again["message"])).stdout
    assert "code for extension 1002" in shown and told["digits"] not in shown and told["code"] not in shown
    assert "it was asked for again" in shown
    run("outbox", "drop", str(again["message"]))
    assert "dropped: replay is not possible" in run("outbox", "replay", str(again["message"]), code=1).stderr
    assert "0 messages will be sent" in run("outbox", "replay-all", "--kind", "mail.code").stdout
    assert asked("outbox", "replay-all", "--kind", "mail.code", "--account", "Example Ltd") == {"messages": 0}
    assert "no message 99" in run("outbox", "show", "99", code=1).stderr
    assert [one["mail"] for one in asked("code", "list")] == ["dropped"]


def test_a_sheet_has_a_card_for_each_and_is_its_owners_alone(
    run: Run, asked: Asked, person: None, tmp_path: Path
) -> None:
    codes = [asked("code", "issue", number) for number in ("1002", "1003")]
    out = tmp_path / "sheet.html"
    said = run("code", "sheet", "1002", "1003", "--out", str(out)).stdout
    assert "2 codes" in said and codes[0]["digits"] not in said
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    page = html.fromstring(out.read_text("utf-8"))
    cards = [" ".join(one.text_content().split()) for one in page.xpath("//article")]
    assert len(cards) == len(page.xpath("//article//*[local-name()='svg']")) == 2
    for card, code in zip(cards, codes, strict=True):
        assert code["code"] in card and code["number"] in card and "Ada Byron" in card and "Example Ltd" in card
    assert [one["details"]["cause"] for one in asked("events", "--kind", "code_revealed")] == ["sheet", "sheet"]


def test_a_sheet_asks_no_host_and_runs_nothing(run: Run, person: None, tmp_path: Path) -> None:
    run("user", "add", "<img src=x onerror=alert(1)>", "--account", "Example Ltd")
    run("extension", "add", "1004", "--account", "Example Ltd", "--user", "<img src=x onerror=alert(1)>")
    run("code", "issue", "1004")
    out = tmp_path / "sheet.html"
    run("code", "sheet", "1004", "--out", str(out))
    page = html.fromstring(out.read_text("utf-8"))
    assert not page.xpath("//script|//img|//link|//iframe|//@src|//@href|//@onerror")
    assert "default-src 'none'" in page.xpath("string(//meta[@http-equiv='Content-Security-Policy']/@content)")
    assert "url(" not in out.read_text("utf-8") and "@import" not in out.read_text("utf-8")


def test_a_sheet_overwrites_nothing_unless_told_to(run: Run, asked: Asked, person: None, tmp_path: Path) -> None:
    run("code", "issue", "1002")
    out = tmp_path / "sheet.html"
    out.write_text("somebody's")
    out.chmod(0o644)
    said = run("code", "sheet", "1002", "--out", str(out), code=1).stderr
    assert said.startswith(f"Error: {out} is there already") and "--force" in said
    assert out.read_text() == "somebody's" and asked("events", "--kind", "code_revealed") == []
    assert "no activation code" in run("code", "sheet", "1002", "1003", "--out", str(out), "--force", code=1).stderr
    assert out.read_text() == "somebody's", "nothing is lost where nothing is made"
    run("code", "sheet", "1002", "--out", str(out), "--force", "--language", "de")
    assert "Aktivierungscode" in out.read_text("utf-8") and stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "cannot be written" in run("code", "sheet", "1002", "--out", str(tmp_path / "no" / "x.html"), code=2).stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data", "sheet.html"], "nothing half made is left"


def test_a_sheet_says_whose_code_stands_in_its_way(run: Run, asked: Asked, person: None, tmp_path: Path) -> None:
    out = tmp_path / "sheet.html"
    for number in ("1002", "1003"):
        run("code", "issue", number)
    run("code", "revoke", "1003")
    said = run("code", "sheet", "1002", "1003", "--out", str(out), code=1).stderr
    assert "no code was read: the code of extension 1003 is revoked" in said and "code issue 1003" in said
    assert asked("events", "--kind", "code_revealed") == [] and not out.exists()
    assert "has 1 code:" in run("code", "sheet", "1002", "--out", str(out)).stdout


def test_doctor_says_what_is_wrong_with_telephone_systems(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no other telephone system may ask" in run("doctor").stdout
    chosen = {"HOOKS_PORT": "0", "HOOKS_ON": "rest", "AGI_PORT": "0", "AGI_PEERS": "127.0.0.1/32"}
    for name, value in chosen.items():
        monkeypatch.setenv(f"PROVISIONER_{name}", value)
    assert "rest.tokens (hooks.rest) cannot be read" in run("doctor", code=1).stdout
    (data / "rest.tokens").write_text("a-token-of-some-length")
    (data / "rest.tokens").chmod(0o644)
    assert "rest.tokens (hooks.rest) can be read by others (0644)" in run("doctor", code=1).stdout
    (data / "rest.tokens").chmod(0o600)
    assert "asterisk, rest may ask" in run("doctor").stdout
    monkeypatch.setenv("PROVISIONER_RESYNC_AMI_HOST", "127.0.0.1")
    assert "(resync.ami_secret) cannot be read" in run("doctor", code=1).stdout
    (data / "ami.secret").write_text("an-ami-secret")
    (data / "ami.secret").chmod(0o600)
    assert "through the manager interface of 127.0.0.1" in run("doctor").stdout
    monkeypatch.setenv("PROVISIONER_AGI_PEERS", "asterisk")
    assert "agi.peers has 'asterisk'" in run("doctor", code=1).stdout


def test_doctor_says_what_is_wrong_with_mail(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "mail is off" in run("doctor").stdout
    monkeypatch.setenv("PROVISIONER_MAIL_HOST", "mail.example.net")
    assert "mail.from" in run("doctor", code=1).stdout
    monkeypatch.setenv("PROVISIONER_MAIL_FROM", "tel@example.com")
    assert "tel@example.com writes through mail.example.net:587 (starttls)" in run("doctor").stdout
    monkeypatch.setenv("PROVISIONER_MAIL_USER", "tel")
    assert "mail.password" in run("doctor", code=1).stdout
    monkeypatch.delenv("PROVISIONER_MAIL_USER")
    (data / "templates" / "mail" / "nl").mkdir(parents=True)
    (data / "templates" / "mail" / "nl" / "code.txt.j2").write_text("Hallo")
    assert "templates/mail/nl/ready.txt.j2 is missing" in run("doctor", code=1).stdout
