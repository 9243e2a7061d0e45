"""The mail server that takes our mails, a real one on this machine: TLS, log-in, and what each of its answers means."""

from __future__ import annotations

import socket
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from mail_server import PASSWORD, USER, serving, tls_of

from provisioner.errors import NotNow, Undeliverable, Unusable
from provisioner.mail.relay import Relay
from provisioner.settings import Settings

TO = "ann@example.net"


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


def relay(tmp_path: Path, port: int, **chosen: Any) -> Relay:
    secret = tmp_path / "mail.secret"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(f"{chosen.pop('password', PASSWORD)}\n")
    given = {"mail_host": "localhost", "mail_from": "Example Ltd <tel@example.com>", "mail_timeout": 5.0, **chosen}
    return Relay(Settings(data=tmp_path, mail_port=port, **given))


def mail() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "tel@example.com", TO, "Grüße"
    message.set_content("Guten Tag\n.\n.. und ein Punkt\n")
    return message


@pytest.mark.asyncio
async def test_starttls_and_a_log_in(tmp_path: Path, authority: trustme.CA) -> None:
    async with serving(tls=tls_of(authority), login=True) as server:
        one = relay(tmp_path, server.port, mail_user=USER, mail_ca="ca.pem")
        await one.send(mail(), TO)
        await one.send(mail(), TO)
        await one.rest()
    assert [envelope.mail_from for envelope in server.envelopes] == ["tel@example.com"] * 2
    assert [envelope.rcpt_tos for envelope in server.envelopes] == [[TO]] * 2
    first, second = server.sessions
    assert first is second and first.ssl and first.authenticated, "one connection for what is sent together"
    assert server.mails[0]["Subject"] == "Grüße"
    assert server.mails[0].get_content().splitlines() == ["Guten Tag", ".", ".. und ein Punkt"]


@pytest.mark.asyncio
async def test_tls_from_the_first_byte(tmp_path: Path, authority: trustme.CA) -> None:
    async with serving(tls=tls_of(authority), implicit=True) as server:
        one = relay(tmp_path, server.port, mail_tls="tls", mail_ca="ca.pem")
        await one.send(mail(), TO)
        await one.rest()
    assert len(server.mails) == 1


@pytest.mark.asyncio
async def test_where_no_tls_is_offered_nothing_is_said(tmp_path: Path) -> None:
    async with serving() as server:
        with pytest.raises(NotNow, match="STARTTLS") as refused:
            await relay(tmp_path, server.port).send(mail(), TO)
    assert refused.value.everybody and server.mails == []


@pytest.mark.asyncio
async def test_a_certificate_of_somebody_else_is_not_taken(tmp_path: Path, authority: trustme.CA) -> None:
    async with serving(tls=tls_of(trustme.CA())) as server:
        with pytest.raises(NotNow) as refused:
            await relay(tmp_path, server.port, mail_ca="ca.pem").send(mail(), TO)
    assert refused.value.everybody and server.mails == []


@pytest.mark.asyncio
async def test_a_wrong_password_stops_all_mails_and_is_not_told(tmp_path: Path, authority: trustme.CA) -> None:
    async with serving(tls=tls_of(authority), login=True) as server:
        one = relay(tmp_path, server.port, mail_user=USER, mail_ca="ca.pem", password="not-the-right-one")
        with pytest.raises(NotNow, match=r"does not take mail.user and its password \(535\)") as refused:
            await one.send(mail(), TO)
    assert refused.value.everybody and "not-the-right-one" not in str(refused.value) + repr(one.__dict__["_settings"])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("where", "answer", "kind", "everybody"),
    [
        (TO, "550 5.1.1 no such user", Undeliverable, False),
        (TO, "450 4.2.1 greylisted, come later", NotNow, False),
        (TO, "421 4.7.0 too many mails", NotNow, True),
        ("data", "554 5.7.1 code 1234-5678-9012 looks like spam", Undeliverable, False),
        ("data", "452 4.3.1 disk full", NotNow, False),
        ("sender", "553 5.1.8 you may not send as this", NotNow, True),
    ],
)
async def test_each_answer_means_now_or_never(
    tmp_path: Path, where: str, answer: str, kind: type[Undeliverable | NotNow], everybody: bool
) -> None:
    async with serving() as server:
        server.answers[where] = answer
        one = relay(tmp_path, server.port, mail_tls="none")
        with pytest.raises(kind) as refused:
            await one.send(mail(), TO)
        assert getattr(refused.value, "everybody", False) is everybody
        assert answer[:3] in refused.value.cause and "5678" not in refused.value.cause
        server.answers.clear()
        await one.send(mail(), TO)
        await one.rest()
    assert len(server.mails) == 1, "the next mail has a connection of its own"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "quoted",
    [
        "4821 - 0937 - 7165", "4821--0937--7165", "4821=E2=80=910937=E2=80=917165", "4821_0937_7165",
        "4821 / 0937 / 7165", "<b>4821</b>-<b>0937</b>-<b>7165</b>", "4821=2D0937=2D7165", "4 8 2 1 0 9 3 7 7 1 6 5",
        "482109377165",
    ],
)  # fmt: skip
async def test_however_a_filter_quotes_a_code_it_is_not_repeated(tmp_path: Path, quoted: str) -> None:
    async with serving() as server:
        server.answers["data"] = f"554 5.7.1 your mail {quoted} looks like spam"
        with pytest.raises(Undeliverable) as refused:
            await relay(tmp_path, server.port, mail_tls="none").send(mail(), TO)
    cause = refused.value.cause
    assert "says 554 5.7.1" in cause, "what the answer means is told"
    assert not [part for part in ("4821", "0937", "7165", "4 8 2") if part in cause]


@pytest.mark.asyncio
async def test_a_server_that_is_silent_or_away_holds_nobody_up(tmp_path: Path) -> None:
    async with serving() as server:
        server.answers["silence"] = ""
        with pytest.raises(NotNow, match="no answer in 1 s") as refused:
            await relay(tmp_path, server.port, mail_tls="none", mail_timeout=1.0).send(mail(), TO)
        assert refused.value.everybody
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(NotNow) as refused:
            await relay(tmp_path, free.getsockname()[1], mail_tls="none").send(mail(), TO)
    assert refused.value.everybody


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"mail_from": ""}, "mail.from"),
        ({"mail_from": "Example"}, "mail.from"),
        ({"mail_from": "A <a@b.c>\r\nBcc: <x@y.z>"}, "mail.from"),
        ({"mail_reply_to": "nobody"}, "mail.reply_to"),
        ({"mail_user": USER, "mail_tls": "none", "mail_host": "mail.example.net"}, "in the clear"),
        ({"mail_user": USER, "mail_password": "missing.secret"}, "cannot be read"),
        ({"mail_ca": "missing.pem"}, "mail.ca"),
    ],
)
def test_what_cannot_work_is_told_before_the_server_starts(tmp_path: Path, chosen: dict[str, str], said: str) -> None:
    with pytest.raises(Unusable, match=said):
        relay(tmp_path, 25, **chosen)


def test_a_password_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "mail.secret").write_text("secret")
    (tmp_path / "mail.secret").chmod(0o640)
    with pytest.raises(Unusable, match="chmod 600"):
        relay(tmp_path, 25, mail_user=USER)
    assert relay(tmp_path, 25).sender.address == "tel@example.com", "without a user it is not needed"
