"""The use-cases as one caller has them: in their name, within their reach, in one transaction when they change."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypedDict

from aiohttp import web

from provisioner.activation.codes import Codes
from provisioner.audit_log import AuditLog
from provisioner.capacity import Capacity
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.flights import Flights
from provisioner.fleet.jobs import Jobs
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
from provisioner.http.api.gatekeeper import Gatekeeper
from provisioner.imports.imports import Imports
from provisioner.keys_desk import ApiKeys
from provisioner.model import Mac
from provisioner.onlookers import Onlookers
from provisioner.outbox_desk import OutboxDesk
from provisioner.preview import Preview
from provisioner.resync.resync import BaseUrls, Resync
from provisioner.rights import Principal
from provisioner.roster import Roster
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.event_pages import EventFilter
from provisioner.switches.switches import Switches
from provisioner.vendor import VendorDriver

Known = Mapping[str, VendorDriver]


class Feed(Protocol):
    """The live feed."""

    async def serve(self, call: Any, wanted: EventFilter) -> web.StreamResponse:
        """Tell one caller until they leave; ``call`` is theirs."""


class Renders(Protocol):
    """Says what a device would fetch now."""

    async def of(self, mac: Mac) -> Preview:
        """NotFound when nobody has added the device."""


class Who(TypedDict):
    """In whose name, and when."""

    actor: str
    clock: Callable[[], float]
    principal: Principal


@dataclass(frozen=True)
class Means:
    """What the admin process has for its calls; one for all of them."""

    store: Store
    drivers: Known
    settings: Settings
    renders: Renders
    base_urls: Callable[[], BaseUrls]
    """Where phones fetch from."""
    capacity: Callable[[], Capacity | None]
    """What the running workers were measured to serve; None while that is not known."""
    gatekeeper: Gatekeeper
    feed: Feed
    clock: Callable[[], float] = time.time
    onlookers: Onlookers = field(default_factory=Onlookers)
    """What workers have told of devices that somebody looks at."""


@dataclass(frozen=True)
class Desks:
    """All use-cases for one call."""

    means: Means
    store: Store
    principal: Principal

    @property
    def _who(self) -> Who:
        return {"actor": self.principal.actor, "clock": self.means.clock, "principal": self.principal}

    @cached_property
    def fleet(self) -> Fleet:
        """Inventory and configuration."""
        return Fleet(self.store, self.means.drivers, **self._who)

    @cached_property
    def search(self) -> Search:
        """Lists."""
        return Search(self.store, self.means.drivers, **self._who)

    @cached_property
    def layers(self) -> Revisions:
        """Settings of phones, how changes of them reach many phones, and taking changes back."""
        return Revisions(self.store, self.means.drivers, self.means.settings, **self._who)

    @cached_property
    def flights(self) -> Flights:
        """What was on connections."""
        return Flights(self.store, self.means.drivers, **self._who)

    @cached_property
    def why(self) -> Why:
        """Why phones do not come up."""
        return Why(self.store, self.means.drivers, self.means.settings, **self._who)

    @cached_property
    def profiling(self) -> Profiling:
        """What phones can do."""
        return Profiling(self.store, self.means.drivers, self.means.settings, **self._who)

    @cached_property
    def key_recording(self) -> KeyRecording:
        """The TLS secrets of one device."""
        return KeyRecording(self.store, self.means.drivers, self.means.settings, **self._who)

    @cached_property
    def refusals(self) -> Refusals:
        """Certificates that opened nothing."""
        return Refusals(self.store, self.means.drivers, self.means.settings, **self._who)

    @cached_property
    def lines(self) -> Rebinding:
        """Who is on which phone."""
        return Rebinding(self.store, self.means.drivers, **self._who)

    @cached_property
    def swaps(self) -> Swap:
        """New phones for old ones."""
        return Swap(self.store, self.means.drivers, **self._who)

    @cached_property
    def codes(self) -> Codes:
        """Activation codes."""
        return Codes(self.store, self.means.drivers, self.means.settings, **self._who)

    @cached_property
    def resync(self) -> Resync:
        """Telling phones to fetch again."""
        return Resync(self.store, self.means.drivers, self.means.settings, **self._who)

    @cached_property
    def outbox(self) -> OutboxDesk:
        """What leaves this server."""
        return OutboxDesk(self.store, self.means.drivers, **self._who)

    @cached_property
    def roster(self) -> Roster:
        """Administrators."""
        return Roster(self.store, self.means.drivers, self.means.settings, **self._who)

    @cached_property
    def keys(self) -> ApiKeys:
        """Keys of the API."""
        return ApiKeys(self.store, self.means.drivers, self.means.settings, **self._who)

    @cached_property
    def audit(self) -> AuditLog:
        """The audit log as a whole."""
        return AuditLog(self.store, self.means.drivers, **self._who)

    @cached_property
    def jobs(self) -> Jobs:
        """Bulk work."""
        return Jobs(self.store, self.means.drivers, **self._who)

    @cached_property
    def imports(self) -> Imports:
        """Files of other systems."""
        return Imports(self.store, self.means.drivers, **self._who)

    @cached_property
    def hooks(self) -> Hooks:
        """Endpoints of other systems."""
        return Hooks(self.store, self.means.drivers, self.means.settings, **self._who)

    @cached_property
    def sources(self) -> Sources:
        """Systems that post."""
        return Sources(self.store, self.means.drivers, self.means.settings, **self._who)

    @cached_property
    def switches(self) -> Switches:
        """Switches, and the power of phones."""
        return Switches(self.store, self.means.drivers, self.means.settings, **self._who)

    @cached_property
    def inbox(self) -> Inbox:
        """What they have posted."""
        return Inbox(self.store, self.means.drivers, self.means.settings, **self._who)
