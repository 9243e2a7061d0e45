"""Who is written to, when, and what: a code to its user, again after a reissue, and that the phone is ready instead."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from activation_office import DESK, HALL, STRANGER, VVX, Office
from mail_server import MailServer, serving
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.activation.letters import CodeLetters
from provisioner.activation_verdict import Outcome
from provisioner.codes import ActivationCode, grouped
from provisioner.errors import Conflict, Invalid, MailOff, NoAddress, NotFound
from provisioner.fleet.rebind import Rebinding
from provisioner.licensing import CodeMails
from provisioner.mail.post import Post
from provisioner.mail.relay import Relay
from provisioner.model import Mac, Scope
from provisioner.outbox import Outbox
from provisioner.outbox_desk import OutboxDesk
from provisioner.outbox_states import MessageState
from provisioner.settings import Settings
from provisioner.store import codes, schema
from provisioner.store.database import Store

pytestmark = pytest.mark.asyncio

ANN = "ann@example.net"


@dataclass
class PostOffice:
    """The office, its mail server, and the sender between them."""

    office: Office
    server: MailServer

    def __post_init__(self) -> None:
        office = self.office
        self.relay = Relay(office.settings)
        self.letters = CodeLetters(office.store, office.drivers, office.settings, actor="ann", clock=office.clock)
        self.desk = OutboxDesk(office.store, {}, actor="ann", clock=office.clock)

    async def sent(self) -> list[EmailMessage]:
        """What arrives in one turn of the sender."""
        office, before = self.office, len(self.server.mails)
        post = Post(office.store, office.drivers, office.settings, self.relay, office.clock)
        await Outbox(office.store, post.channels(), office.settings, lambda *_: None, clock=office.clock).send()
        await self.relay.rest()
        return self.server.mails[before:]

    async def states(self) -> list[str]:
        """Of all messages, the oldest first."""
        return [f"{one.kind} {one.state}" for one in reversed(await self.desk.messages())]


@pytest_asyncio.fixture
async def post(store: Store, drivers: Mapping[str, Any], tmp_path: Path) -> AsyncIterator[PostOffice]:
    async with serving() as server:
        chosen = {"mail_host": "127.0.0.1", "mail_port": server.port, "mail_tls": "none", "mail_rate": 6000.0}
        office = await Office.opened(
            store, drivers, tmp_path, mail_from="Acme phones <tel@acme.example>",
            mail_link="https://help.acme.example/{model}", **chosen,
        )  # fmt: skip
        await office.fleet.set_email("Ann", email=ANN)
        yield PostOffice(office, server)


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return " ".join(str(body.get_content()).split())


async def test_a_code_is_mailed_to_its_user_and_told_of_without_digits(post: PostOffice) -> None:
    issued = await post.letters.issue("1001", account="Acme", mac=DESK, mail=True)
    assert issued.mailed.to == ANN
    [mail] = await post.sent()
    assert mail["To"] == f"Ann <{ANN}>" and mail["From"] == "Acme phones <tel@acme.example>"
    said = text_of(mail)
    for fact in (grouped(issued.code), "1001", ANN, "Acme", f"your Poly {VVX}", DESK.colons, "/vvx-411", "UTC"):
        assert fact in said, fact
    events = await post.office.fleet.events()
    assert [one.kind for one in events if one.kind.startswith("message_")] == ["message_queued", "message_sent"]
    assert all(one.details["number"] == "1001" for one in events if one.kind.startswith("message_"))
    assert issued.code not in str(events) and grouped(issued.code) not in str(events)
    assert (await post.letters.mails([issued.about]))[issued.about.id].state is MessageState.SENT
    assert await post.sent() == []


async def test_without_an_address_or_a_mail_server_nothing_is_issued(post: PostOffice, tmp_path: Path) -> None:
    office = post.office
    await office.fleet.set_email("Ann", email="")
    with pytest.raises(NoAddress, match="has no mail address"):
        await post.letters.issue("1001", account="Acme", mail=True)
    assert await office.codes.codes() == [], "a code that was to be mailed and cannot be is not made"
    off = CodeLetters(office.store, office.drivers, Settings(data=tmp_path), clock=office.clock)
    with pytest.raises(MailOff, match=r"set mail\.host"):
        await off.issue("1001", account="Acme", mail=True)
    with pytest.raises(Invalid, match="ann@example"):
        await office.fleet.set_email("Ann", email="Ann <ann@example.net>")


async def test_as_a_rule_every_code_is_mailed_where_that_can_be(post: PostOffice) -> None:
    office = post.office
    settings = replace(office.settings, mail_on_issue=True)
    always = CodeLetters(office.store, office.drivers, settings, clock=office.clock)
    assert (await always.issue("1001", account="Acme")).mailed.to == ANN
    assert (await always.issue("1002", account="Acme", mail=False)).mailed.to == ""
    issued = await always.issue("1001", account="Beta")
    assert issued.mailed.to == "" and "no mail address" in issued.mailed.why_not, "it is told, and the code is made"
    assert len(await post.sent()) == 1


async def test_an_account_says_itself_which_codes_are_mailed(post: PostOffice) -> None:
    office = post.office
    always = CodeLetters(office.store, office.drivers, replace(office.settings, mail_on_issue=True), clock=office.clock)
    for mails, desk, to in (
        (CodeMails.ASKED, always, ""),
        (CodeMails.HOUSE, always, ANN),
        (CodeMails.HOUSE, post.letters, ""),
        (CodeMails.ALL, post.letters, ANN),
    ):
        assert (await office.fleet.set_policy("Acme", mails=mails)).mails is mails
        assert (await office.fleet.policy("Acme")).mails is mails
        assert (await desk.issue("1001", account="Acme")).mailed.to == to, mails
        await office.codes.revoke("1001", account="Acme")
    assert (await post.letters.issue("1002", account="Acme", mail=False)).mailed.to == "", "as it is said with a code"
    assert (await post.letters.issue("1001", account="Beta")).mailed.why_not == "", "another account goes by the house"
    told = (await office.fleet.events(kind="policy_set"))[-1].details
    assert told["mails"] == "house -> all"


async def test_who_was_mailed_a_code_is_mailed_the_one_that_replaces_it(post: PostOffice) -> None:
    first = await post.letters.issue("1001", account="Acme", mail=True)
    second = await post.letters.reissue("1001", account="Acme")
    [mail] = await post.sent()
    assert grouped(second.code) in text_of(mail) and grouped(first.code) not in text_of(mail)
    assert await post.states() == ["mail.code dropped", "mail.code sent"], "the first had not left yet"
    third = await post.letters.reissue("1001", account="Acme", mail=False)
    assert third.mailed.to == "" and await post.sent() == []
    assert (await post.letters.reissue("1001", account="Acme")).mailed.to == "", "the one before was not mailed"


async def test_a_code_that_is_over_before_its_mail_leaves_is_not_sent(post: PostOffice) -> None:
    used = (await post.letters.issue("1001", account="Acme", mail=True)).code
    assert (await post.office.key_in(used)).outcome is Outcome.ACCEPTED
    await post.letters.issue("1002", account="Acme", mail=True)
    await post.letters.revoke("1002", account="Acme")
    assert await post.sent() == []
    assert await post.states() == ["mail.code dropped", "mail.code dropped"]
    dropped = await post.office.fleet.events(kind="message_dropped")
    assert [one.details["reason"] for one in dropped] == ["the code is used", "the code is revoked"]


async def test_it_is_mailed_again_on_demand(post: PostOffice) -> None:
    issued = await post.letters.issue("1001", account="Acme")
    assert issued.mailed.to == "" and await post.sent() == []
    for _ in range(2):
        assert (await post.letters.mail("1001", account="Acme")).to == ANN
    [mail] = await post.sent()
    assert grouped(issued.code) in text_of(mail)
    await post.letters.mail("1001", account="Acme")
    [again] = await post.sent()
    assert again["Message-ID"] != mail["Message-ID"]
    await post.letters.revoke("1001", account="Acme")
    with pytest.raises(Conflict, match="revoked"):
        await post.letters.mail("1001", account="Acme")


async def test_when_a_phone_is_set_aside_later_a_mail_says_that_it_is_ready(post: PostOffice) -> None:
    await post.letters.issue("1001", account="Acme", mail=True)
    [first] = await post.sent()
    assert "another mail" in text_of(first)
    await post.office.fleet.bind(DESK, 1, extension="1001")
    [mail] = await post.sent()
    said = text_of(mail)
    assert "You need no code" in said and DESK.colons in said and "one full minute" in said
    assert mail["Subject"] == "Your phone 1001 is ready"
    await post.office.fleet.unbind(DESK, 1)
    post.office.clock.now += 1
    await post.office.fleet.bind(HALL, 1, extension="1001")
    await post.office.fleet.bind(DESK, 1, extension="1002")
    assert await post.sent() == [], "told once, and nobody who was never mailed"


async def test_a_code_that_waits_is_replaced_by_the_news_that_none_is_needed(post: PostOffice) -> None:
    await post.letters.issue("1001", account="Acme", mail=True)
    await post.office.fleet.bind(DESK, 1, extension="1001")
    [mail] = await post.sent()
    assert "is ready" in mail["Subject"]
    assert await post.states() == ["mail.code dropped", "mail.ready sent"]


async def test_a_phone_that_was_taken_away_again_is_not_announced_but_the_code_is_mailed(
    post: PostOffice,
) -> None:
    issued = await post.letters.issue("1001", account="Acme", mail=True)
    await post.office.fleet.bind(DESK, 1, extension="1001")
    post.office.clock.now += 1
    await post.office.fleet.unbind(DESK, 1)
    assert await post.sent() == []
    assert await post.states() == ["mail.code dropped", "mail.ready dropped", "mail.code queued"]
    [mail] = await post.sent()
    assert grouped(issued.code) in text_of(mail)
    post.office.clock.now += 1
    await post.office.fleet.bind(DESK, 1, extension="1001")
    [mail] = await post.sent()
    assert "is ready" in mail["Subject"], "this time it is meant"


@pytest.mark.parametrize("why", ["dropped by hand", "revoked", "over", "sent"])
async def test_taking_a_phone_away_mails_no_code_that_nobody_waits_for(post: PostOffice, why: str) -> None:
    office = post.office
    await post.letters.issue("1001", account="Acme", mail=True)
    if why == "dropped by hand":
        await post.desk.drop((await post.desk.messages())[0].id)
    if why == "sent":
        await post.sent()
    await office.fleet.bind(DESK, 1, extension="1001")
    await post.sent()
    if why == "revoked":
        await post.letters.revoke("1001", account="Acme")
    office.clock.now += 1 + 86_400 * 30 * (why == "over")
    await office.fleet.unbind(DESK, 1)
    assert await post.sent() == [] and "mail.code queued" not in await post.states()


async def test_a_removed_phone_brings_the_code_back_and_another_label_does_not(post: PostOffice) -> None:
    office = post.office
    await office.fleet.set_policy("Acme", phones=2)
    issued = await post.letters.issue("1001", account="Acme", mail=True)
    await office.fleet.bind(DESK, 1, extension="1001")
    [ready] = await post.sent()
    assert "is ready" in ready["Subject"]
    office.clock.now += 1
    await Rebinding(office.store, office.drivers, clock=office.clock).rebind(DESK, 1, extension="1001", label="Ann's")
    assert await post.sent() == [] and (await post.states())[-1] == "mail.code dropped"
    office.clock.now += 1
    await office.fleet.remove_device(DESK)
    [mail] = await post.sent()
    assert grouped(issued.code) in text_of(mail)


async def test_who_has_used_the_code_hears_no_more_of_it(post: PostOffice) -> None:
    office = post.office
    issued = await post.letters.issue("1001", account="Acme", mac=DESK, mail=True)
    assert len(await post.sent()) == 1
    assert (await office.key_in(issued.code)).outcome is Outcome.ACCEPTED
    office.clock.now += 86_400 * 30
    desk = Rebinding(office.store, office.drivers, clock=office.clock)
    await desk.rebind(DESK, 1, extension="1001", label="Ann's desk")
    assert await post.sent() == [], "another label is no news"
    office.clock.now += 1
    await desk.rebind(HALL, 1, extension="1001", replace=True)
    assert await post.sent() == [], "nor is another phone, a month later"


async def test_the_phone_that_one_has_is_no_news(post: PostOffice) -> None:
    office = post.office
    await office.fleet.bind(DESK, 1, extension="1001")
    office.clock.now += 1
    await post.letters.issue("1001", account="Acme", replace=True, mail=True)
    assert len(await post.sent()) == 1
    office.clock.now += 1
    await Rebinding(office.store, office.drivers, clock=office.clock).rebind(DESK, 1, extension="1001", label="x")
    assert await post.sent() == []
    office.clock.now += 1
    await office.fleet.unbind(DESK, 1)
    office.clock.now += 1
    await office.fleet.bind(DESK, 2, extension="1001")
    assert await post.sent() == [], "the same phone again"
    await office.fleet.bind(HALL, 1, extension="1001", replace=True)
    [mail] = await post.sent()
    assert HALL.colons in text_of(mail)


async def test_whom_no_mail_reaches_is_not_written_to_again(post: PostOffice) -> None:
    post.server.answers[ANN] = "550 no such person"
    await post.letters.issue("1001", account="Acme", mail=True)
    assert await post.sent() == []
    del post.server.answers[ANN]
    await post.office.fleet.bind(DESK, 1, extension="1001")
    assert await post.sent() == [] and await post.states() == ["mail.code dead"]


async def test_a_code_that_is_used_while_its_mail_is_made_is_not_mailed(
    post: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = await post.letters.issue("1001", account="Acme", mail=True)
    read = codes.code_of

    async def overtaken(connection: AsyncConnection, ident: str) -> ActivationCode | None:
        """PostgreSQL: each statement sees what is committed by then. SQLite: the reader's view is begun anew."""
        found = await read(connection, ident)
        await connection.rollback()
        assert (await post.office.key_in(issued.code)).outcome is Outcome.ACCEPTED
        await post.office.fleet.unbind(DESK, 1)
        return found

    monkeypatch.setattr(codes, "code_of", overtaken)
    assert await post.sent() == [] and await post.states() == ["mail.code dropped"]
    with pytest.raises(Conflict, match="used"):
        await post.letters.reveal("1001", account="Acme")


async def test_a_broken_template_keeps_mails_waiting_until_it_is_mended(post: PostOffice) -> None:
    own = post.office.settings.data / "templates" / "mail" / "en" / "code.txt.j2"
    own.parent.mkdir(parents=True)
    own.write_text("Hello {{ nmae }}")
    issued = await post.letters.issue("1001", account="Acme", mail=True)
    assert await post.sent() == []
    [waiting] = await post.desk.messages()
    assert waiting.state is MessageState.QUEUED and waiting.last_error == "template mail/en/code.txt.j2: UndefinedError"
    [told] = await post.office.fleet.events(kind="message_unmade")
    assert told.details["reason"] == waiting.last_error and told.severity == "warning"
    own.write_text("Hello {{ name }}: {{ code }}")
    post.office.clock.now += 60
    [mail] = await post.sent()
    assert text_of(mail) == f"Hello Ann: {grouped(issued.code)}"


async def test_a_name_that_is_an_encoded_word_is_refused_and_harmless_where_it_is_one_already(post: PostOffice) -> None:
    evil = "=?utf-8?q?Ada=0D=0ABcc:_evil=40x.org?= B"
    with pytest.raises(Invalid, match="encoded word"):
        await post.office.fleet.add_user(evil, account="Acme")
    async with post.office.store.writing() as connection:  # from before it was refused
        await connection.execute(update(schema.user).where(schema.user.c.name == "Ann").values(name=evil))
    await post.letters.issue("1001", account="Acme", mail=True)
    [mail] = await post.sent()
    assert "Bcc" not in mail and [one.addr_spec for one in mail["To"].addresses] == [ANN]
    assert post.server.envelopes[-1].rcpt_tos == [ANN]


async def test_keying_the_code_in_oneself_brings_no_mail(post: PostOffice) -> None:
    issued = await post.letters.issue("1001", account="Acme", mail=True)
    await post.sent()
    assert (await post.office.key_in(issued.code)).outcome is Outcome.ACCEPTED
    assert await post.sent() == []


async def test_a_code_is_mailed_again_when_the_phone_that_it_is_tied_to_is_added(post: PostOffice) -> None:
    fleet, other = post.office.fleet, Mac("0004f2aabb09")
    issued = await post.letters.issue("1001", account="Acme", mac=STRANGER, mail=True)
    await post.letters.issue("1002", account="Acme", mac=STRANGER)
    [first] = await post.sent()
    assert STRANGER.colons in text_of(first) and VVX not in text_of(first)
    await fleet.add_device(other, vendor="poly", model=VVX, account="Acme")
    assert await post.sent() == []
    await fleet.add_device(STRANGER, vendor="poly", model=VVX, account="Acme")
    [again] = await post.sent()
    assert f"your Poly {VVX}" in text_of(again) and grouped(issued.code) in text_of(again)
    post.office.clock.now += 86_400 * 30
    await fleet.remove_device(STRANGER)
    await fleet.add_device(STRANGER, vendor="poly", model=VVX, account="Acme")
    assert await post.sent() == [], "the code is over"


async def test_another_accounts_phone_brings_no_code_again(post: PostOffice) -> None:
    await post.letters.issue("1001", account="Acme", mac=STRANGER, mail=True)
    await post.sent()
    await post.office.fleet.add_device(STRANGER, vendor="poly", model=VVX, account="Beta")
    assert await post.sent() == []


async def test_an_address_that_was_wrong_is_corrected_and_the_message_sent_again(post: PostOffice) -> None:
    await post.office.fleet.set_email("Ann", email="anne@example.net")
    post.server.answers["anne@example.net"] = "550 5.1.1 no such user"
    issued = await post.letters.issue("1001", account="Acme", mail=True)
    assert await post.sent() == []
    [dead] = await post.desk.messages(state=MessageState.DEAD)
    assert "550 5.1.1 no such user" in dead.last_error
    await post.office.fleet.set_email("Ann", email=ANN)
    await post.desk.replay(dead.id)
    [mail] = await post.sent()
    assert mail["To"] == f"Ann <{ANN}>" and grouped(issued.code) in text_of(mail)


async def test_a_removed_extension_is_written_to_no_more(post: PostOffice) -> None:
    await post.letters.issue("1003", account="Acme", mail=True)
    await post.office.fleet.remove_extension("1003", account="Acme")
    assert await post.sent() == [] and await post.states() == ["mail.code dropped"]


async def test_language_and_clock_are_those_of_the_account_and_the_place(post: PostOffice) -> None:
    fleet = post.office.fleet
    await fleet.set_layer(Scope.ACCOUNT, "Acme", {"language": "de-DE", "time.zone": "Europe/Berlin"})
    await fleet.set_layer(Scope.SITE, "Madrid", {"time.zone": "Atlantic/Canary"})
    await post.letters.issue("1001", account="Acme", mail=True)
    await post.letters.issue("1002", account="Acme", site="Madrid", mail=True)
    first, second = (text_of(one) for one in await post.sent())
    assert "Guten Tag Ann" in first and "(Europe/Berlin)" in first
    assert "Guten Tag Ann" in second and "(Atlantic/Canary)" in second


async def test_cards_are_told_together_or_not_at_all_and_each_is_an_event(post: PostOffice) -> None:
    office = post.office
    issued = [await office.issue(number) for number in ("1001", "1002")]
    with pytest.raises(NotFound, match="has no activation code"):
        await post.letters.cards(["1001", "1003"], account="Acme")
    assert await office.fleet.events(kind="code_revealed") == []
    await post.letters.issue("1003", account="Acme", mac=STRANGER, model=VVX, site="Berlin")
    cards = await post.letters.cards(["1001", "1002", "1003", "1001"], account="Acme")
    assert [one.digits for one in cards[:2]] == issued and len(cards) == 3
    assert cards[2].only_for == f"Poly {VVX}, {STRANGER.colons}, Berlin"
    told = await office.fleet.events(kind="code_revealed")
    assert [one.details["number"] for one in told] == ["1001", "1002", "1003"]
    assert all(one.details["cause"] == "sheet" for one in told) and issued[0] not in str(cards)
