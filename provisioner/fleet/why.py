"""Use-cases of the technician: why a phone does not come up, and what most phones suffer from.

Every witness that this server has is read by an index and within bounds, so that the answer takes as long with a
million devices as with one. What a capture or a switch saw is handed in.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.certificates import CertFacts, Unreadable, read, to_der
from provisioner.desk import SettingsDesk, device_of
from provisioner.diagnosis.case import Rules, Subject
from provisioner.diagnosis.facts import Fact
from provisioner.diagnosis.grouped import Group, grouped
from provisioner.diagnosis.ladder import Diagnosis, diagnose
from provisioner.errors import Invalid
from provisioner.fleet import testimony
from provisioner.flight import Flight
from provisioner.flight_facts import notify_facts
from provisioner.gate import address_key
from provisioner.model import Device, Mac
from provisioner.rights import Right
from provisioner.settings import Settings
from provisioner.store import devices, flights, journal, pages, wipes
from provisioner.store.rows import StoredEvent
from provisioner.vendor import older

_CN: Final = re.compile(r"(?:^|, )CN=([^,]+)")
_EVENTS: Final = 60
"""The newest of a device: what it is told of in an hour of trouble."""
_FLIGHTS: Final = 40
_SAME: Final = 0.5
"""s between a refusal's event and the record of its connection."""
_NEIGHBOURS: Final = 20
"""Connections from a phone's address on which nobody has said who he is."""


class Why(SettingsDesk):
    """Diagnosis of one phone, and of all."""

    async def diagnose_device(self, mac: Mac, *, extra: Sequence[Fact] = ()) -> Diagnosis:
        """What keeps the phone from coming up; ``extra`` is what other witnesses saw of it."""
        async with self._store.reading() as connection:
            device = await self._device(connection, mac)
            facts = await self._facts(connection, mac, device)
            near = [] if device else await devices.mistyped(connection, mac, _SHOWN)
        made = diagnose([*facts, *extra], self._subject(mac, device), self._clock())
        return made if device else replace(made, notes=(_unknown(near), *made.notes))

    async def diagnose_address(self, address: str, *, extra: Sequence[Fact] = ()) -> Diagnosis:
        """The same of whoever comes from an address, where the MAC is not known.

        What each of several phones there did says nothing of the others, so it is all perhaps.
        """
        self._require_all(Right.SERVER_READ)
        try:
            key = address_key(str(ipaddress.ip_address(address)))
        except ValueError:
            raise Invalid("address", f"{address[:60]!r} is neither a MAC nor an IP address") from None
        async with self._store.reading() as connection:
            found = await flights.at_addresses(connection, [key], _FLIGHTS)
        names = sorted({_name_in(one) for one in found} - {""})
        alike = [] if len(names) > 1 else [one for one in found if _name_in(one) == "".join(names)]
        others = [one for one in found if one not in alike]
        perhaps = testimony.perhaps([*_of_flights(others), *(extra if len(names) > 1 else ())])
        facts = [*_of_flights(alike), *perhaps, *(extra if len(names) < 2 else ())]
        made = diagnose(facts, replace(self._subject(None, None), where=address), self._clock())
        return replace(made, notes=(*made.notes, _several(names))) if len(names) > 1 else made

    async def troubled(self, *, since: float | None = None) -> list[Group]:
        """What phones suffer from, grouped by failure, what concerns most of them first."""
        begin = self._clock() - self._settings.diagnosis_recent if since is None else since
        async with self._store.reading() as connection:
            return grouped(await flights.troubles(connection, begin))

    # --- whom it is about -------------------------------------------------------------------------------

    async def _device(self, connection: AsyncConnection, mac: Mac) -> Device | None:
        """None for one that nobody has added, told only to whoever reaches everything."""
        if self._principal.reach.accounts is not None:
            return await device_of(connection, mac)
        return await devices.find_device(connection, mac)

    def _subject(self, mac: Mac | None, device: Device | None) -> Subject:
        configured = self._settings
        own = own_certificates(configured)
        rules = Rules(configured.diagnosis_loop_fetches, configured.diagnosis_loop_window, configured.diagnosis_silent)
        return Subject(
            mac,
            device.vendor if device else "",
            device.model if device else "",
            frozenset({configured.server_name.lower()} - {"localhost"}),
            _own_addresses(configured.server_host),
            own.issuers,
            own.begins,
            own.ends,
            rules=rules,
        )

    # --- what is known of it ----------------------------------------------------------------------------

    async def _facts(self, connection: AsyncConnection, mac: Mac, device: Device | None) -> list[Fact]:
        events = await journal.list_events(connection, limit=_EVENTS, mac=mac, named=True)
        own = await flights.proven_of(connection, mac, _FLIGHTS)
        claims = await flights.claims_of(connection, mac)
        fetches = await journal.list_fetches(connection, mac)
        recorded = max((one.ended for one in own), default=0.0)
        # A good boot is recorded when it is over; until then the last fetches tell of it, as without the recorder.
        fresh = [one for one in fetches if one.at > recorded]
        facts = [*notify_facts(events), *testimony.registered_facts(events), *_of_flights(own)]
        facts += testimony.fetch_facts(fresh)
        facts += _of_claims(claims, mac, known=bool(own or fetches))
        # Where many phones share an address the recorder leaves out some; what it has is not told twice.
        named = [*events, *await flights.refusals_of_claims(connection, mac, _EVENTS)]
        unheard = [one for one in named if one.at > recorded and not any(_tells(each, one) for each in claims)]
        facts += testimony.refusal_facts(unheard, known=bool(own or fetches))
        met = max([recorded, *(one.at for one in fresh)])
        facts += await self._neighbours(connection, mac, met)
        if device is None:
            return facts + testimony.unknown_facts(await journal.find_seen(connection, mac))
        return [*facts, await self._inventory(connection, device)]

    async def _neighbours(self, connection: AsyncConnection, mac: Mac, since: float) -> list[Fact]:
        """A phone that refuses this server has shown no name, only where it is; whoever is there with it may have.

        Who does not reach everything is told that somebody has, and nothing of whom, when or how: it may be anybody's.
        """
        places = await flights.addresses_of(connection, mac)
        if found := await flights.nameless_at(connection, places, since, _NEIGHBOURS):
            return testimony.perhaps(_of_flights(found))
        left = await flights.anybody_left(connection, places, since, _NEIGHBOURS)
        return testimony.left_facts(self._clock()) if left else []

    async def _inventory(self, connection: AsyncConnection, device: Device) -> Fact:
        bound = await devices.bindings_of(connection, device.mac, active=True)
        served, wanted = await pages.revisions(connection, device)
        wipe = await wipes.wipe_of(connection, device.mac)
        # One that never had any configuration is not behind, it has not come.
        behind = served is not None and served < wanted
        lacking = await pages.lacking_since(connection, device, served) if behind and served is not None else None
        driver = self._drivers.get(device.vendor)
        model = driver.manifest.models.get(device.model) if driver else None
        floor = model.min_firmware if model else ""
        return testimony.device_fact(
            device,
            lines=len(bound),
            current=not behind,
            changed=lacking,
            wiped=wipe.everything,
            min_firmware=floor,
            needs_firmware=bool(device.firmware and floor) and older(device.firmware, floor),
            now=self._clock(),
        )


def _of_flights(found: Iterable[Flight]) -> list[Fact]:
    return [fact for one in found for fact in one.facts()]


def _unknown(near: Sequence[Mac]) -> str:
    alike = f"; much like it: {', '.join(one.colons for one in near)}" if near else ""
    return f"nobody has added this MAC{alike}"


def _name_in(one: Flight) -> str:
    """Who a stranger says he is: the MAC that he claims, or what his certificate calls him."""
    return one.mac or str(next(iter(one.told.get("c", ())), ("",))[0])


def _several(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"several come from this address: {', '.join(names[:_SHOWN])}{more}; give the MAC of the one that is meant"


_SHOWN: Final = 6
_VOUCHED: Final = frozenset({"unique", "expired", "not_yet_valid", "weak"})
"""Verdicts on certificates of a CA that is trusted here: the name in them is its owner's."""


def _of_claims(claims: Iterable[Flight], mac: Mac, *, known: bool) -> Iterator[Fact]:
    """Once a phone is known, whoever only says that he is this one may be anybody."""
    for one in claims:
        verdict, _, _, named = one.told.get("i") or ("", "", "", "")
        vouched = verdict in _VOUCHED and named == mac
        yield from testimony.perhaps(one.facts()) if known and not vouched else one.facts()


def _tells(one: Flight, of: StoredEvent) -> bool:
    return one.trouble and one.at - _SAME <= of.at <= one.ended + _SAME


class Own(NamedTuple):
    """What is known of the server's own certificates."""

    begins: float | None = None
    ends: float | None = None
    """All of them are valid from then to then."""
    issuers: frozenset[str] = frozenset()


def own_certificates(configured: Settings) -> Own:
    """Those that can be read."""
    found = [one for name in configured.tls_certificates for one in _leaf(configured.data / name)]
    if not found:
        return Own()
    issuers = frozenset(match[1].strip().lower() for one in found if (match := _CN.search(one.issuer)))
    return Own(max(one.not_before for one in found), min(one.not_after for one in found), issuers)


def _leaf(path: Path) -> list[CertFacts]:
    try:
        return [read(to_der(path.read_bytes())[0])]
    except (OSError, Unreadable):
        return []


def _own_addresses(host: str) -> frozenset[str]:
    """Where it is known: an address that means all, or this machine alone, says nothing of what phones ask for."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return frozenset()
    return frozenset() if address.is_unspecified or address.is_loopback else frozenset({str(address)})
