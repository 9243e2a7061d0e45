"""Whatever strangers and colleagues write stays text: names, labels, User-Agents, uploads, settings, questions."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from console_house import OTHER, VVX, Browser, House, Shown
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import BadPath, Malformed, ProvisionerError
from provisioner.events import EventLog
from provisioner.http.console.forms import Form, parsed
from provisioner.http.console.look import ago, short, size, span
from provisioner.model import NOBODY, Event, ListenerKind, Peer, Scope, TlsFacts
from provisioner.store.journal import write_events

CORPUS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus='alert(1)",
    "</textarea></title><svg/onload=alert(1)>",
    "{{7*7}}{% raw %}",
    "javascript:alert(1)//",
    "<a href=//evil.example>x",
    "&lt;b&gt;&amp;#60;",
    "--><!--",
    "]]><x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
)
OWN = {"script": 2, "img": 0, "iframe": 0, "object": 0, "embed": 0, "base": 0}
"""How often these stand in a page of the console."""


def assert_harmless(shown: Shown, where: str) -> None:
    tree = shown.tree
    for name, most in OWN.items():
        assert len(tree.xpath(f"//{name}")) <= most, (where, name)
    assert [one.get("src") for one in tree.xpath("//script") if not str(one.get("src")).startswith("/assets/")] == []
    for one in tree.iter():
        if isinstance(one.tag, str):
            assert not [name for name in one.attrib if name.startswith("on")], where
            assert not one.get("href", "/").lower().startswith(("javascript:", "//", "http", "data:")), where
    assert "49{%" not in shown.text, "no text is a template"


async def strange(house: House, number: int, text: str) -> None:
    """One text of the corpus in every place where somebody else's text is kept."""
    fleet, acme = house.fleet, house.ids["Acme"]
    user = await fleet.add_user(f"{text} {number}"[:80], account=acme)
    await fleet.add_extension(f"6{number:02}", account=acme, user=user.id, display_name=text[:80])
    await fleet.add_account(f"{text}{number}"[:80])
    await fleet.add_site(f"{text}{number}"[:80], account=acme)
    told: list[Event] = []
    peer = Peer(NOBODY, TlsFacts(sni=text), ListenerKind.DEVICE, f"192.0.2.{number}")
    log = EventLog(told.append)
    log.refused(BadPath(f"no phone sends {text}"), peer, f"/{text}", f"Mozilla {text}", time.time() + 60 * number)
    async with house.means.store.writing() as connection:
        await write_events(connection, told)


@pytest.mark.asyncio
async def test_what_others_have_written_stays_text(house: House, owner: Browser) -> None:
    for number, text in enumerate(CORPUS):
        await strange(house, number, text)
    for line, text in enumerate(CORPUS[:8], 1):
        ident = next(one.id for one in await house.fleet.extensions() if one.number == f"6{line:02}")
        await house.fleet.bind(VVX, line, extension=ident, label=text[:40])
    await house.fleet.set_layer(Scope.ACCOUNT, house.ids["Acme"], {"phonebook.name": CORPUS[0][:32]})
    async with house.means.store.writing() as connection:
        for number, text in enumerate(CORPUS):
            await connection.exec_driver_sql(
                "INSERT INTO upload (mac, name, owner, kind, size, digest, at, file) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (str(VVX), text, "", "log", 9, "0", 1.0, f"f{number}"),
            )
        await connection.exec_driver_sql("UPDATE device SET firmware = ? WHERE mac = ?", (CORPUS[1], str(VVX)))
    device, users = f"/devices/{VVX}", await house.fleet.users(house.ids["Acme"])
    pages = ["/", "/devices", device, f"{device}/live", f"{device}/configuration", f"{device}/history", "/users",
             "/extensions", "/accounts", f"/accounts/{house.ids['Acme']}", "/events", "/audit", "/users/new",
             "/layers", f"/layers/account?key={house.ids['Acme']}", "/devices/new",
             *(f"/users/{one.id}" for one in users)]  # fmt: skip
    seen = ""
    for path in pages:
        shown = await owner.get(path)
        assert shown.status == 200, path
        assert_harmless(shown, path)
        seen += shown.words
    for text in CORPUS[:4]:
        assert text[:32] in seen, "it is shown, as it is"


@pytest.mark.asyncio
@pytest.mark.parametrize("text", CORPUS)
async def test_what_is_asked_and_sent_comes_back_as_text(house: House, owner: Browser, text: str) -> None:
    for path in (f"/devices?q={quote(text)}", f"/devices?account={quote(text)}", f"/users?q={quote(text)}",
                 f"/events?mac={quote(text)}&actor={quote(text)}", f"/models?q={quote(text)}",
                 f"/layers/account?key={quote(text)}", f"/users/{quote(text, safe='')}", f"/{quote(text, safe='')}",
                 f"/devices/new?mac={quote(text)}", f"/devices/{OTHER}/files?name={quote(text)}"):  # fmt: skip
        shown = await owner.get(path)
        assert shown.status < 500, path
        if shown.text:
            assert_harmless(shown, path)
    for path, form in {
        f"/devices/{VVX}/bind": {"extension": text, "line": text, "label": text},
        "/devices/new": {"mac": text, "model": text, "account": text},
        "/accounts": {"name": text * 20},
        "/users/new": {"step": text, "go": text, "account": text, "name": text},
        "/layers/account/preview": {"key": house.ids["Acme"], "version": text, "new-name": text, "new-value": text},
        "/codes/new": {"extension": text, "mac": text, "model": text},
        "/login/link": {"token": text, "password": text, "again": text},
    }.items():
        shown = await owner.post(path, form)
        assert 400 <= shown.status < 500, (path, shown.status)
        assert_harmless(shown, path)


# --- forms and words, with anything in them -------------------------------------------------------


@given(st.binary(max_size=300))
def test_any_body_is_a_form_or_refused(body: bytes) -> None:
    try:
        form = parsed(body)
    except ProvisionerError as error:
        assert isinstance(error, Malformed)
    else:
        assert all("\0" not in value for values in form.fields.values() for value in values)


@given(st.dictionaries(st.text(min_size=1, max_size=9), st.lists(st.text(max_size=9), min_size=1), max_size=5))
def test_a_form_is_read_as_it_was_filled_in(fields: dict[str, list[str]]) -> None:
    plain = {name.replace("\0", ""): values for name, values in fields.items()}
    pairs = [(name, one.replace("\0", "")) for name, values in plain.items() for one in values if name]
    try:
        body = "&".join(f"{quote(name, safe='')}={quote(one, safe='')}" for name, one in pairs).encode()
    except UnicodeEncodeError:
        return  # no browser sends half a character
    form = parsed(body)
    for name, values in plain.items():
        if name:
            assert [one.replace("\0", "").replace("\r\n", "\n") for one in values] == list(form.many(name))


def test_fields_of_a_form() -> None:
    form = parsed(b"a=+x+&a=2&set:b=1&flag=yes&empty=")
    assert (form.text("a"), form.raw("a"), form.many("a")) == ("x", " x ", (" x ", "2"))
    assert (form.flag("flag"), form.flag("empty"), form.flag("none"), Form().text("a")) == (True, False, False, "")
    assert form.below("set:") == {"b": "1"}


def test_words() -> None:
    assert [span(one) for one in (0, 59, 60, 119, 120, 3600, 7200, 86_400, 172_800)] == [
        "0 s", "59 s", "1 min", "1 min", "2 min", "1 h", "2 h", "24 h", "2 d",
    ]  # fmt: skip
    assert [size(one) for one in (0, 9999, 12_345, 5_600_000)] == ["0 B", "9,999 B", "12.3 kB", "5.6 MB"]
    assert "3 min ago" in ago(1000.0, 1180.0)
    assert "in 3 min" in ago(1180.0, 1000.0)
    assert "never" in ago(None, 1.0)
    assert short("x" * 70) == "x" * 59 + "…"
