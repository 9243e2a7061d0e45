"""Two accounts with one of everything each, and every public use-case called with what is the other's."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select

from provisioner.activation.letters import CodeLetters
from provisioner.audit_log import AuditLog
from provisioner.desk import Desk
from provisioner.fleet.device_search import DeviceQuery
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.flights import Flights
from provisioner.fleet.key_recording import KeyRecording
from provisioner.fleet.profiling import Profiling
from provisioner.fleet.rebind import Rebinding
from provisioner.fleet.refusals import Refusals
from provisioner.fleet.revisions import Revisions
from provisioner.fleet.search import Search
from provisioner.fleet.swap import Swap
from provisioner.fleet.why import Why
from provisioner.hooks.hooks import Hooks
from provisioner.hooks.inbox import Inbox
from provisioner.hooks.sources import Sources
from provisioner.keys_desk import ApiKeys
from provisioner.licensing import LicenseKind
from provisioner.model import ConfigLayer, ListenerKind, Mac, Scope
from provisioner.outbox_desk import OutboxDesk
from provisioner.resync.resync import Draft, Resync, Whom
from provisioner.rights import Principal
from provisioner.roles import Right, Role
from provisioner.rollout_states import PARTS, RolloutState
from provisioner.roster import Roster
from provisioner.settings import Settings
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.event_pages import EventFilter
from provisioner.store.people import new_id
from provisioner.store.resync import Request
from provisioner.store.rollouts import Rollout, insert_rollout
from provisioner.switches.credentials import Auth, Community, User
from provisioner.switches.ports import Rule
from provisioner.switches.switches import Switches

NOTICES = {"change", "touched", "revision", "audit_head"}
"""Tables of notices, which name no content."""


@dataclass
class House:
    """One account and what is in it, by the names of the parameters that take it."""

    name: str
    given: dict[str, Any] = field(default_factory=dict)
    marks: set[str] = field(default_factory=set)
    """Words that nobody else's answers hold."""
    places: set[str] = field(default_factory=set)
    """Those of them that belong to its site."""

    @property
    def mac(self) -> Mac:
        return Mac(self.given["mac"])


async def build(fleet: Fleet, settings: Settings, store: Store, name: str, number: int) -> House:
    """An account with one of everything."""
    account = await fleet.add_account(f"{name}-account")
    site = await fleet.add_site(f"{name}-site", account=account.id, time_zone="Europe/Berlin")
    user = await fleet.add_user(f"{name}-user", account=account.id, email=f"{name.lower()}@example.net")
    extension = await fleet.add_extension(f"{number}01", account=account.id, user=user.id, secret=f"{name}-secret-1")
    spare = await fleet.add_extension(f"{number}02", account=account.id, user=user.id, secret=f"{name}-secret-2")
    mac, second = Mac(f"0004f2{number:03x}001"), Mac(f"0004f2{number:03x}002")
    for one in (mac, second):
        await fleet.add_device(one, vendor="poly", model="VVX 411", account=account.id, site=site.id)
    await fleet.bind(mac, 1, extension=extension.id, label=f"{name}-label")
    await fleet.set_layer(Scope.DEVICE, mac, {}, raw={f"{name}.raw": f"{name}-value"})
    await fleet.set_layer(Scope.ACCOUNT, account.id, {}, raw={f"poly:{name}.whole": f"{name}-value"})
    await fleet.allow(mac, token=True)
    await fleet.open_token(mac)
    await fleet.add_licenses(LicenseKind.USER, account=account.id, count=2)
    held = await fleet.assign_license(user.id)
    added = await fleet.add_numbers([f"+4930{number}000"], account=account.id, site=site.id)
    await fleet.set_range(f"{number}00-{number}99", account=account.id)
    await fleet.suggest_extension(account=account.id)
    mailing = replace(settings, mail_host="mail.example.net", mail_from="tel@example.net")
    await CodeLetters(store, fleet_drivers(fleet), mailing).issue(spare.id, mac=second, mail=True)
    desk = Switches(store, fleet_drivers(fleet), settings)
    switch = await desk.add_switch(
        f"{name}-switch", account=account.id, site=site.id, address="127.0.0.1", port=9,
        read=User("nobody", Auth.SHA, f"{name}-switch-key"),
    )  # fmt: skip
    await desk.power_cycle(second)
    history = await Revisions(store, fleet_drivers(fleet), settings).layer_revisions(Scope.DEVICE, mac)
    given = {
        "switch": switch.id, "revision": history[0].revision, "rollout": await rolled_out(store, account.id),
        "account": account.id, "site": site.id, "user": user.id, "extension": spare.id, "mac": mac, "license": held.id,
        "number": added[0].id, "ref": account.id, "key": mac, "email": f"{name.lower()}.owner@example.net",
    }  # fmt: skip
    of_account = {account.id, user.id, extension.id, spare.id, held.id, f"{name}-user", f"{name}-account"}
    at_site = {site.id, str(mac), str(second), added[0].id, f"{name}-site", f"{name}-label", f"{name}-value"}
    at_site |= {switch.id, f"{name}-switch"}
    return House(name, given, of_account | at_site, at_site)


async def rolled_out(store: Store, account: str) -> str:
    """A change of its layer that all its phones have, still watched."""
    one = Rollout(
        new_id(), Scope.ACCOUNT, account, 1, RolloutState.WATCHING, PARTS, 1, 2, "eve", 1.0, 1.0, "", "", None
    )
    async with store.changing("test", 1.0) as change:
        await insert_rollout(change.connection, store.box, one, ConfigLayer(one.scope, one.key))
    return one.id


def fleet_drivers(fleet: Fleet) -> Mapping[str, Any]:
    return fleet._drivers


CALLED = (
    Fleet,
    CodeLetters,
    OutboxDesk,
    Resync,
    Search,
    Rebinding,
    Swap,
    Revisions,
    Hooks,
    Sources,
    Inbox,
    Roster,
    ApiKeys,
    AuditLog,
    Switches,
    Profiling,
    Why,
    Flights,
    Refusals,
    KeyRecording,
)
"""Every class of use-cases."""


def made(kind: type, store: Store, drivers: Mapping[str, Any], settings: Settings, principal: Principal) -> Any:
    """One of them, as this principal has it."""
    more = (settings,) if "settings" in inspect.signature(kind).parameters else ()
    return kind(store, drivers, *more, principal=principal)


def public(kind: type) -> Iterator[tuple[str, Any]]:
    """Its public use-cases; what takes part in a change that is under way is called by these."""
    for name, function in inspect.getmembers(kind, callable):
        if name.startswith("_") or not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
            continue
        if "change" not in inspect.signature(function).parameters:
            yield name, function


PLAIN: Mapping[str, Any] = {
    "line": 1, "name": "fresh", "names": [], "vendor": "poly", "model": "VVX 411", "kind": LicenseKind.USER, "count": 1,
    "given": ["+4930999"], "span": "700-799", "seconds": 600.0, "scope": Scope.DEVICE, "raw": {"x": "1"}, "values": {},
    "file": "x.cfg", "since": 0.0, "wanted": {}, "listed": [], "ident": 1, "role": Role.AUDITOR,
    "right": Right.SECRET_REVEAL, "password": "a fine password", "hashed": "x", "scopes": [Right.DEVICE_READ],
    "rate": 10.0, "after": 0, "limit": 10, "token": "x" * 22, "url": "https://p.example.net/",
    "rules": '[[rules]]\naction = "ignore"\n', "document": b"{}", "source": "nobody", "digest": "0" * 64,
    "address": "127.0.0.1", "port": 9, "read": User("nobody", Auth.SHA, "a-key-of-9"), "write": Community("w"),
    "rule": Rule.AUTO, "forget_write": False, "interface": 7, "poe": "1.7", "owner": "", "before": 0, "allowed": True,
    "minutes": 5.0, "ask": "", "models": ["VVX 411"], "note": "a note", "addresses": ["192.0.2.1"], "everything": True,
}  # fmt: skip
"""Values for parameters that name nothing of an account."""
BY_METHOD: Mapping[tuple[str, str], Any] = {
    ("add_extension", "number"): "990",
    ("switches", "after"): ("", ""),
    ("device_page", "wanted"): DeviceQuery(),
    ("event_page", "wanted"): EventFilter(),
    ("events_after", "wanted"): EventFilter(),
}
REFERENCES = frozenset({"account", "site", "user", "extension", "mac", "license", "number", "key", "email", "ref"})
REFERENCES |= {"accounts", "extensions", "macs", "whom", "draft", "parent", "old", "new", "revision", "rollout"}
REFERENCES |= {"idents", "switch"}
"""Parameters that name something of an account."""


def drafted(mac: Mac) -> Draft:
    """A campaign over one device."""
    return Draft([], [Request(mac, "check-sync", 1, 1.0)], {}, {}, {mac: 1})


def wishes(name: str, function: Any, own: House, other: House, settings: Settings) -> Iterator[dict[str, Any]]:
    """Arguments: all that refer to anything are the other's, and then one of them after the other."""
    found = {key: one for key, one in inspect.signature(function).parameters.items() if key != "self"}
    needed = {key for key, one in found.items() if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
    references = sorted(REFERENCES & set(found))
    chosen: list[tuple[str, ...]] = [tuple(references), *((one,) for one in references)]
    named = {(foreign, rest & set(references)) for foreign in chosen for rest in map(frozenset, (needed, found))}
    for foreign, rest in sorted(named, key=repr):
        wanted = sorted(needed | rest | set(foreign))
        yield {key: value_of(name, key, other if key in foreign else own, settings) for key in wanted}


def value_of(name: str, key: str, house: House, settings: Settings) -> Any:
    """What a parameter is given; a new one has to be taught."""
    if (name, key) in BY_METHOD:
        return BY_METHOD[name, key]
    given = house.given
    special = {
        "parent": given["account"], "old": given["mac"], "new": given["mac"],
        "switch": given["switch"],
        "idents": [given[one] for one in ("account", "site", "user", "extension")],
        "accounts": [given["account"]], "extensions": [given["extension"]], "macs": [given["mac"]],
        "whom": Whom(mac=house.mac), "draft": drafted(house.mac), "settings": settings,
        "base_urls": {ListenerKind.DEVICE: "https://p.example.net/"},
    }  # fmt: skip
    for known in (special, given, PLAIN):
        if key in known:
            return known[key]
    raise AssertionError(f"{name} has a parameter {key} that this test does not know: teach it")


async def answer(result: Any) -> str:
    """Everything that a use-case tells, as text."""
    if isinstance(result, AsyncIterator):
        return repr([one async for one in result])
    return repr(await result)


async def snapshot(store: Store, marks: set[str]) -> dict[str, set[str]]:
    """Every row in which one of these marks stands."""
    found: dict[str, set[str]] = {}
    async with store.reading() as connection:
        for table in schema.metadata.sorted_tables:
            if table.name not in NOTICES:
                rows = {repr(row) for row in await connection.execute(select(table))}
                found[table.name] = {row for row in rows if any(mark in row for mark in marks)}
    return found


def all_desks() -> set[type]:
    """Every class of use-cases that is loaded."""
    found, todo = set(), [Desk]
    while todo:
        more = todo.pop().__subclasses__()
        found |= set(more)
        todo += more
    return found
