"""Where help is sent to: a line without an address is told or refused, and whom the site names hears of it once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from activation_office import ADDRESS, DESK, HALL, STRANGER, Office
from mail_server import MailServer, serving

from provisioner.activation_verdict import Outcome
from provisioner.errors import Conflict, ExtensionHasCode, NoLicense, NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.licensing import AccountPolicy, CodeNetworks, EmergencyRule
from provisioner.mail.notices import Notices
from provisioner.mail.relay import Relay
from provisioner.model import FetchRecord, ListenerKind, Mac, Proof
from provisioner.outbox import Outbox
from provisioner.places import NOWHERE, Address
from provisioner.rights import Part, Principal, Reach, Right
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.notices import waiting
from provisioner.store.records import Recorder

pytestmark = pytest.mark.asyncio

HOME = Address("1 Example Road", "Bristol", postal_code="BS1 1AA", country="GB")
ELSEWHERE = "203.0.113.9"


@pytest_asyncio.fixture
async def office(store: Store, drivers: Any, tmp_path: Path) -> Office:
    return await Office.opened(store, drivers, tmp_path)


async def missing(office: Office) -> list[tuple[str, str]]:
    found = await office.fleet.events(kind="emergency_missing", limit=100)
    return [(one.mac, one.details["number"]) for one in found]


async def test_a_line_without_an_address_is_told_and_bound(office: Office) -> None:
    await office.fleet.bind(DESK, 1, extension="1001")
    assert await missing(office) == [(DESK, "1001")]
    [told] = await office.fleet.events(kind="emergency_missing")
    assert (told.severity, told.actor, told.details["line"]) == ("warning", "ann", "1")
    assert told.details["site"] and told.details["account"]


async def test_an_address_of_the_site_or_of_the_user_is_enough(office: Office) -> None:
    await office.fleet.change_site("Berlin", address=HOME)
    await office.fleet.bind(DESK, 1, extension="1001")
    assert await missing(office) == []
    await office.fleet.bind(HALL, 1, extension="1002")
    assert await missing(office) == [(HALL, "1002")], "it stands at no site"
    await office.fleet.change_user("Ann", address=HOME, location="2nd floor")
    await office.fleet.bind(HALL, 2, extension="1003")
    assert len(await missing(office)) == 1
    ann = next(one for one in await office.fleet.users("Acme") if one.name == "Ann")
    assert (ann.address, ann.location) == (HOME, "2nd floor")
    kinds = [one.kind for one in await office.fleet.events(limit=1000)]
    assert kinds.count("emergency_changed") == 2 and kinds.count("user_changed") == 0
    await office.fleet.change_user("Ann", address=HOME)
    assert len(await office.fleet.events(kind="emergency_changed")) == 2, "nothing has changed"


async def test_a_policy_refuses_such_a_line_by_every_door(office: Office) -> None:
    asked = await office.fleet.set_policy("Acme", emergency=EmergencyRule.BLOCK)
    assert asked == await office.fleet.policy("Acme") != AccountPolicy(asked.account)
    with pytest.raises(Conflict, match="neither its site nor the user of extension 1001 has an address"):
        await office.fleet.bind(DESK, 1, extension="1001")
    assert await office.fleet.bindings(DESK, active=True) == [] and await missing(office) == []
    code = await office.issue()
    heard = await office.key_in(code)
    assert heard.outcome is Outcome.NOT_READY
    [failed] = await office.fleet.events(kind="code_failed")
    assert failed.details["cause"] == "no_emergency_location"
    await office.fleet.change_site("Berlin", address=HOME)
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED, "the code has stayed good"
    assert await missing(office) == []


async def test_a_line_keeps_its_address(office: Office) -> None:
    """Neither a move nor a cleared address takes from a line what it had to have when it was bound."""
    acme = (await office.fleet.set_policy("Acme", emergency=EmergencyRule.BLOCK)).account
    await office.fleet.change_site("Berlin", address=HOME)
    await office.fleet.bind(DESK, 1, extension="1001")
    with pytest.raises(Conflict, match="there in an emergency, and it has extension 1001"):
        await office.fleet.move_device(DESK, account=acme, site="Madrid")
    with pytest.raises(Conflict, match="1 line hangs on this address"):
        await office.fleet.change_site("Berlin", address=NOWHERE)
    await office.fleet.change_user("Ann", address=HOME)
    await office.fleet.change_site("Berlin", address=NOWHERE)
    with pytest.raises(Conflict, match="1 line hangs on this address"):
        await office.fleet.change_user("Ann", address=NOWHERE)
    await office.fleet.set_policy("Acme", emergency=EmergencyRule.WARN)
    await office.fleet.change_user("Ann", address=NOWHERE)
    assert await missing(office) == []
    await office.fleet.move_device(DESK, account=acme, site="Madrid")
    assert await missing(office) == [(DESK, "1001")]


async def test_an_extension_is_handed_over_as_it_would_be_bound(office: Office) -> None:
    fleet = office.fleet
    await fleet.add_user("Eve", account="Acme")
    await fleet.change_user("Ann", address=HOME)
    await fleet.bind(DESK, 1, extension="1001")
    await fleet.bind(DESK, 2, extension="1002")
    assert await missing(office) == []
    await fleet.set_policy("Acme", emergency=EmergencyRule.BLOCK)
    with pytest.raises(Conflict, match="neither its site nor the new user of extension 1001 has an address"):
        await fleet.change_extension("1001", user="Eve", account="Acme")
    ann = next(one for one in await fleet.users("Acme") if one.name == "Ann")
    assert {one.user for one in await fleet.extensions("Acme") if one.number in {"1001", "1002"}} == {ann.id}
    await fleet.set_policy("Acme", emergency=EmergencyRule.WARN)
    eve = next(one for one in await fleet.users("Acme") if one.name == "Eve")
    assert (await fleet.change_extension("1001", user="Eve", account="Acme")).user == eve.id
    assert await missing(office) == [(DESK, "1001")], "and not of the line that stays hers"
    told = (await fleet.events(kind="extension_changed"))[-1].details
    assert (told["user"], told["user_before"]) == (eve.id, ann.id)
    await fleet.set_policy("Acme", emergency=EmergencyRule.BLOCK)
    await fleet.change_extension("1001", user="Ann", account="Acme")
    await fleet.change_site("Berlin", address=HOME)
    await fleet.change_extension("1001", user="Eve", account="Acme")


async def test_its_new_user_needs_what_a_new_phone_would_and_no_code_of_the_former_one_is_left(office: Office) -> None:
    fleet = office.fleet
    await fleet.add_user("Eve", account="Acme")
    await fleet.bind(DESK, 1, extension="1001")
    await fleet.set_policy("Acme", needs_license=True)
    with pytest.raises(NoLicense):
        await fleet.change_extension("1001", user="Eve", account="Acme")
    await fleet.set_policy("Acme", needs_license=False)
    code = await office.issue("1002")
    with pytest.raises(ExtensionHasCode, match="revoke it first"):
        await fleet.change_extension("1002", user="Eve", account="Acme")
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED
    assert (await fleet.change_extension("1002", user="Eve", account="Acme")).number == "1002"
    with pytest.raises(NotFound):
        await fleet.change_extension("1002", user="nobody", account="Acme")


async def test_a_stranger_comes_to_the_site_of_its_code(office: Office) -> None:
    await office.fleet.set_policy("Acme", emergency=EmergencyRule.BLOCK)
    await office.fleet.change_site("Madrid", address=HOME)
    await office.seen()
    assert (await office.key_in(await office.issue("1001"), STRANGER)).outcome is Outcome.NOT_READY
    code = await office.issue("1002", site="Madrid")
    assert (await office.key_in(code, STRANGER)).outcome is Outcome.ACCEPTED


async def test_whoever_may_only_bind_hears_the_truth_all_the_same(office: Office) -> None:
    """The site's addressees and the user's address are beyond them, and count."""
    site = (await office.fleet.change_site("Berlin", notify=["guard@example.net"])).id
    rights = frozenset({Right.DEVICE_BIND, Right.DEVICE_READ})
    narrow = Principal("dora", (Part(rights, Reach(frozenset(), frozenset({site}))),)).doing(Right.DEVICE_BIND)
    fleet = Fleet(office.store, office.drivers, clock=office.clock, principal=narrow)
    await fleet.bind(DESK, 1, extension="1001")
    assert await missing(office) == [(DESK, "1001")]
    async with office.store.reading() as connection:
        assert await waiting(connection, office.clock(), 9) == [site]
    await office.fleet.change_user("Ann", address=HOME)
    await fleet.bind(DESK, 2, extension="1002")
    assert len(await missing(office)) == 1


# --- from where a code may be used -----------------------------------------------------------------------


async def came(office: Office, mac: Mac, address: str) -> None:
    """It has fetched from there."""
    recorder = Recorder(office.store, office.settings, lambda *_: None, office.clock)
    how = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "6.4.3")
    recorder.fetch(FetchRecord(mac, "a.cfg", office.clock(), 200, 5, "d", *how, address=address))
    await recorder.flush()


async def at_home(office: Office) -> None:
    await office.fleet.set_policy("Acme", networks=CodeNetworks.SITE)
    await office.fleet.change_site("Berlin", networks=[f"{ADDRESS}/32", "2001:db8:1::/48"])
    await office.fleet.change_site("Madrid", networks=["192.0.2.0/24"])


async def test_a_code_is_used_where_the_phone_is_at_home(office: Office) -> None:
    await at_home(office)
    code = await office.issue()
    assert (await office.key_in(code)).outcome is Outcome.WRONG_SITE, "it has fetched from nowhere yet"
    await came(office, DESK, ELSEWHERE)
    assert (await office.key_in(code)).outcome is Outcome.WRONG_SITE
    told = (await office.fleet.events(kind="code_failed"))[-1]
    assert (told.details["cause"], told.details["came_from"], told.severity) == ("network", ELSEWHERE, "warning")
    await came(office, DESK, "192.0.2.7")
    await came(office, DESK, "2001:db8:1::7")
    assert (await office.key_in(code, source=ELSEWHERE)).outcome is Outcome.ACCEPTED, "the call may come by a proxy"


async def test_a_network_of_another_site_is_not_enough(office: Office) -> None:
    await at_home(office)
    await came(office, DESK, "192.0.2.7")
    assert (await office.key_in(await office.issue())).outcome is Outcome.WRONG_SITE
    await came(office, HALL, "192.0.2.7")
    given = await office.issue("1002")
    assert (await office.key_in(given, HALL, model="VVX 150")).outcome is Outcome.ACCEPTED, "it stands at no site"


async def test_a_phone_that_nobody_has_added_is_looked_at_too(office: Office) -> None:
    await at_home(office)
    await office.fleet.change_site("Berlin", networks=["198.51.100.0/25"])
    await office.seen(address="198.51.100.200")
    code = await office.issue(site="Berlin")
    assert (await office.key_in(code, STRANGER)).outcome is Outcome.WRONG_SITE
    await office.seen()
    assert (await office.key_in(code, STRANGER)).outcome is Outcome.ACCEPTED


async def test_anywhere_is_anywhere(office: Office) -> None:
    await office.fleet.change_site("Berlin", networks=["192.0.2.0/24"])
    await came(office, DESK, ELSEWHERE)
    assert (await office.key_in(await office.issue())).outcome is Outcome.ACCEPTED


async def test_where_a_phone_was_seen(office: Office) -> None:
    await at_home(office)
    assert await office.fleet.seen_at(DESK) == type(await office.fleet.seen_at(DESK))()
    await came(office, DESK, "192.0.2.7")
    seen = await office.fleet.seen_at(DESK)
    assert (seen.address, seen.site_name) == ("192.0.2.7", "Madrid"), "whatever is said of where it stands"
    await came(office, DESK, "")
    assert (await office.fleet.seen_at(DESK)).address == "192.0.2.7"
    assert (await office.fleet.device(DESK)).firmware == "6.4.3"
    await office.seen(address="192.0.2.8")
    [stranger] = await office.fleet.seen()
    assert stranger.site == seen.site
    await office.fleet.add_site("Porto", account="Beta")
    await office.fleet.change_site("Porto", networks=["192.0.2.0/24"])
    assert [one.site for one in await office.fleet.seen()] == [""], "two customers may have the same network"
    assert (await office.fleet.seen_at(DESK)).site_name == "Madrid", "of its own account it is one"


# --- whom a site names ---------------------------------------------------------------------------------------


class Desk:
    """The process that sends mails, at such an office."""

    def __init__(self, office: Office, mailbox: MailServer) -> None:
        self.office = office
        settings = Settings(
            data=office.settings.data, mail_host="127.0.0.1", mail_port=mailbox.port, mail_tls="none",
            mail_rate=6000.0, mail_from="Phones <p@example.com>",
        )  # fmt: skip
        self.relay = Relay(settings)
        self.notices = Notices(office.store, settings, self.relay, office.clock)
        channels = self.notices.channels()
        self.outbox = Outbox(office.store, channels, settings, lambda *_: None, clock=office.clock)

    async def send(self, after: float = 61.0) -> int:
        self.office.clock.now += after
        queued = await self.notices.turn()
        while await self.outbox.send():
            pass
        return queued


@pytest_asyncio.fixture
async def mailbox() -> AsyncIterator[MailServer]:
    async with serving() as found:
        yield found


@pytest_asyncio.fixture
async def desk(office: Office, mailbox: MailServer) -> AsyncIterator[Desk]:
    await office.fleet.change_site("Berlin", notify=["guard@example.net", "desk@example.net"])
    found = Desk(office, mailbox)
    yield found
    await found.relay.rest()


def text(mail: Any) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


async def test_all_that_happens_within_a_minute_is_one_mail_each(desk: Desk, mailbox: MailServer) -> None:
    for line, number in enumerate(("1001", "1002", "1003"), 1):
        await desk.office.fleet.bind(DESK, line, extension=number)
    assert await desk.send(after=30.0) == 0
    assert await desk.send(after=31.0) == 2
    assert sorted(mail["To"] for mail in mailbox.mails) == ["desk@example.net", "guard@example.net"]
    first = mailbox.mails[0]
    assert first["Subject"] == "No emergency address for phones at Berlin"
    for number, line in (("1001", 1), ("1003", 3)):
        assert f"{number}   line {line} of {DESK.colons}" in text(first)
    page = first.get_body(("html",))
    assert page is not None and f"1002, line 2 of {DESK.colons}" in page.get_content()
    assert await desk.send() == 0 and len(mailbox.mails) == 2


async def test_what_is_mended_meanwhile_is_told_as_a_change(desk: Desk, mailbox: MailServer) -> None:
    await desk.office.fleet.bind(DESK, 1, extension="1001")
    await desk.office.fleet.change_site("Berlin", address=HOME, location="2nd floor")
    assert await desk.send() == 2
    assert mailbox.mails[0]["Subject"] == "The emergency address of Berlin has changed"
    assert "1 Example Road, BS1 1AA Bristol, GB" in text(mailbox.mails[0]) and "2nd floor" in text(mailbox.mails[0])
    assert "Nobody could be sent" not in text(mailbox.mails[0])
    await desk.office.fleet.change_site("Berlin", address=NOWHERE)
    assert await desk.send() == 2
    assert "Nobody could be sent" in text(mailbox.mails[-1])


async def test_a_user_s_address_concerns_the_sites_of_their_phones(desk: Desk, mailbox: MailServer) -> None:
    await desk.office.fleet.change_user("Ann", address=HOME)
    assert await desk.send() == 0, "no phone of hers stands there"
    await desk.office.fleet.bind(DESK, 1, extension="1001")
    await desk.office.fleet.change_user("Ann", location="3rd floor")
    assert await desk.send() == 2
    assert mailbox.mails[0]["Subject"] == "The emergency address of Berlin has changed"


async def test_what_was_mended_before_it_left_and_who_is_named_no_more(desk: Desk, mailbox: MailServer) -> None:
    await desk.office.fleet.bind(DESK, 1, extension="1001")
    desk.office.clock.now += 61
    assert await desk.notices.turn() == 2
    await desk.office.fleet.change_site("Berlin", notify=["guard@example.net"])
    await desk.outbox.send()
    assert [mail["To"] for mail in mailbox.mails] == ["guard@example.net"]
    await desk.office.fleet.bind(DESK, 2, extension="1002")
    desk.office.clock.now += 61
    assert await desk.notices.turn() == 1
    await desk.office.fleet.unbind(DESK, 1)
    await desk.office.fleet.unbind(DESK, 2)
    await desk.outbox.send()
    assert len(mailbox.mails) == 1, "nothing is missing any more"


async def test_a_site_that_names_nobody_keeps_nothing(office: Office, mailbox: MailServer) -> None:
    desk = Desk(office, mailbox)
    await office.fleet.bind(DESK, 1, extension="1001")
    await office.fleet.change_site("Berlin", notify=["guard@example.net"])
    assert await desk.send() == 0
