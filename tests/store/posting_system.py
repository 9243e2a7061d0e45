"""A system that posts to this server, for tests: its rules, its secret, and the house that it posts to."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

from provisioner.activation.codes import Codes
from provisioner.fleet.fleet import Fleet
from provisioner.hooks.inbox import Inbox
from provisioner.hooks.intake import Intake, Taken
from provisioner.hooks.signing import signed
from provisioner.hooks.sources import MadeSource, Sources
from provisioner.model import Mac
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.hook_inbox import InboxState

NOW = 1_800_000_000.0
MAC = Mac("0004f2aabb01")
OTHER_MAC = Mac("0004f2aabb02")
RULES = """
id = "$.id"
occurred_at = "$.at"

[[rules]]
action = "extension.assign"
when = { "$.type" = "assign" }
[rules.fields]
mac = "$.mac"
line = "$.line"
extension = "$.extension"
user = "$.user"
replace = { path = "$.replace", default = "no" }

[[rules]]
action = "user.left"
when = { "$.type" = "left" }
fields = { user = "$.user" }

[[rules]]
action = "registration.seen"
when = { "$.type" = "registered" }
fields = { mac = "$.mac", extension = "$.extension", address = "$.address" }

[[rules]]
action = "device.shipped"
when = { "$.type" = "shipped" }
fields = { mac = "$.mac", model = "$.model", vendor = "$.vendor", site = "$.site" }

[[rules]]
action = "ignore"
when = { "$.type" = "noise" }
"""


@dataclass
class World:
    """A house, and a system that posts to it."""

    store: Store
    settings: Settings
    drivers: Any
    now: float = NOW
    made: MadeSource | None = None
    account: str = ""
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def clock(self) -> float:
        return self.now

    def sources(self, **who: Any) -> Sources:
        return Sources(self.store, self.drivers, self.settings, clock=self.clock, **{"actor": "ann", **who})

    def inbox(self, **who: Any) -> Inbox:
        return Inbox(self.store, self.drivers, self.settings, clock=self.clock, **{"actor": "ann", **who})

    @property
    def intake(self) -> Intake:
        return Intake(self.store, self.drivers, self.settings, self.clock)

    @property
    def fleet(self) -> Fleet:
        return Fleet(self.store, self.drivers, actor="ann", clock=self.clock)

    @property
    def codes(self) -> Codes:
        return Codes(self.store, self.drivers, self.settings, actor="ann", clock=self.clock)

    async def post(self, kind: str = "", ident: str = "", raw: bytes | None = None, **said: Any) -> Taken:
        """As the source signs it; a new id each time unless one is given."""
        assert self.made is not None
        ident = ident or f"msg_{next(self.numbers)}"
        body = json.dumps({"type": kind, **said}).encode() if raw is None else raw
        return await self.intake.receive("pbx", signed([self.made.secret], ident, int(self.now), body), body)

    async def state(self, kind: str, **said: Any) -> tuple[InboxState, str]:
        one = (await self.post(kind, **said)).message
        return one.state, one.why

    async def lines(self, mac: Mac = MAC) -> dict[int, str]:
        return {one.line: one.number for one in await self.fleet.bindings(mac, active=True)}
