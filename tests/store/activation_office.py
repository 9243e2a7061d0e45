"""Two accounts with phones, people and a clock of their own, for the tests of activation codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner.activation.activation import Activation
from provisioner.activation.codes import Codes
from provisioner.activation_verdict import Attempt, Redemption
from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac, Model, Scope
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.records import Recorder

DESK, HALL, FOREIGN, STRANGER = (Mac(f"0004f2aabb0{number}") for number in range(1, 5))
VVX, DEAF = "VVX 411", "SoundPoint IP 450"
ADDRESS = "198.51.100.7"
NETWORKS = ("198.51.100.0/24",)


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Office:
    """Acme: Ann on 1001, 1002 and 1003, phones DESK (Berlin) and HALL. Beta: Bob on 1001, phone FOREIGN."""

    store: Store
    drivers: Mapping[str, Any]
    settings: Settings
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.fleet = Fleet(self.store, self.drivers, actor="ann", clock=self.clock)
        self.codes = Codes(self.store, self.drivers, self.settings, actor="ann", clock=self.clock)
        self.activation = self.another()

    def another(self, store: Store | None = None) -> Activation:
        """As another process has it, or this one after it was started again."""
        return Activation(store or self.store, self.drivers, self.settings, clock=self.clock)

    @classmethod
    async def opened(cls, store: Store, drivers: Mapping[str, Any], tmp_path: Path, **chosen: Any) -> Office:
        poly = drivers["poly"]
        models = (*poly.manifest.models.values(), Model("poly", DEAF, "soundpoint", "ucs4", 3, ivr_activation=False))
        known = {**drivers, "poly": type(poly)("poly", *models)}
        office = cls(store, known, Settings(data=tmp_path, **{"activation_networks": NETWORKS, **chosen}))
        await office._furnish()
        return office

    async def _furnish(self) -> None:
        for account, user, numbers in (("Acme", "Ann", ("1001", "1002", "1003")), ("Beta", "Bob", ("1001",))):
            ident = (await self.fleet.add_account(account)).id
            await self.fleet.set_layer(Scope.ACCOUNT, ident, {"activation": True})
            await self.fleet.add_user(user, account=account)
            for number in numbers:
                await self.fleet.add_extension(number, account=account, user=user)
        await self.fleet.add_site("Berlin", account="Acme")
        await self.fleet.add_site("Madrid", account="Acme")
        await self.fleet.add_device(DESK, vendor="poly", model=VVX, account="Acme", site="Berlin")
        await self.fleet.add_device(HALL, vendor="poly", model="VVX 150", account="Acme")
        await self.fleet.add_device(FOREIGN, vendor="poly", model=VVX, account="Beta")

    async def issue(self, number: str = "1001", **asked: Any) -> str:
        """The digits of a fresh code of Acme's."""
        return (await self.codes.issue(number, account="Acme", **asked)).code

    async def key_in(self, code: str, mac: Mac = DESK, **given: Any) -> Redemption:
        """As a proven phone does it, where nothing else is given."""
        return await (given.pop("activation", None) or self.activation).redeem(attempt(code, mac, **given))

    async def seen(self, mac: Mac = STRANGER, address: str = ADDRESS) -> None:
        """A phone that nobody has added has fetched from an address."""
        recorder = Recorder(self.store, self.settings, lambda *_: None, self.clock)
        recorder.seen(mac, "poly", VVX, address, self.clock())
        await recorder.flush()

    async def kinds(self, kind: str = "code_") -> list[str]:
        return [one.kind for one in await self.fleet.events(limit=1000) if one.kind.startswith(kind)]


def attempt(code: str, mac: Mac = DESK, **given: Any) -> Attempt:
    values = {"vendor": "poly", "model": VVX, "source": ADDRESS, "authenticated": True, **given}
    return Attempt(mac=mac, code=code, **values)


def wrong(code: str, number: int = 0) -> str:
    """Digits that check and are nobody's: another body with its own check digit."""
    from provisioner.codes import check_digit

    body = str((int(code[:-1]) + 1 + number) % 10 ** (len(code) - 1)).zfill(len(code) - 1)
    return body + check_digit(body)
