"""Whether a device would get other files than it has: what it fetched last, rendered anew and compared by digest.

A newer revision alone restarts nobody. The same views, layers and drivers as at the device edge make the files; each
is made for the listener, the way of proof and the firmware with which the device fetched it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import NoSuchFile, RenderFailed, StoreFailed
from provisioner.layers import merge, resolve
from provisioner.model import BootView, DeviceFile, FileKind, ListenerKind, Model, Proof, ResolvedConfig
from provisioner.neutral import ACTIVATION, POLL_FROM, POLL_PERIOD, POLL_TO
from provisioner.store.database import Store
from provisioner.store.journal import read_body
from provisioner.store.resync import Candidate, Served
from provisioner.store.views import Views
from provisioner.vendor import VendorDriver, older

_MADE: Final = frozenset({FileKind.MASTER, FileKind.BOOT, FileKind.COMMON, FileKind.DEVICE, FileKind.DIRECTORY})
"""Kinds that the server renders; the rest are images, uploads and what never changes."""
_TOKEN: Final = re.compile(rb"/t/[A-Za-z0-9_-]{16,}")
_DAY: Final = 86_400.0


class Verdict(StrEnum):
    """What comparing has shown."""

    DIFFERS = "differs"
    SAME = "same"
    UNKNOWN = "not known"
    """None of what it has fetched is on record: it is taken for different."""
    BROKEN = "cannot be rendered"
    """It would get nothing; restarting it would not help."""
    WAITING = "waits for activation"
    """It has no line and polls every few minutes anyway."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One device, looked at."""

    verdict: Verdict
    event: str = ""
    """The Event header that makes it fetch again."""
    upto: int = 0
    """The revision that its files were made at."""
    patience: float = 0.0
    """s within which it polls by itself."""
    why: str = ""
    """The name of a file that differs, or what is broken."""
    whole: bool = False
    """The file of the device itself was among those compared."""


class Compare:
    """Opened for one campaign."""

    def __init__(
        self, store: Store, drivers: Mapping[str, VendorDriver], base_urls: Mapping[ListenerKind, str]
    ) -> None:
        self._store = store
        self._drivers = drivers
        self._base_urls = base_urls
        self._views = Views(store)

    async def open(self) -> None:
        """Load what devices share."""
        await self._views.open()

    async def close(self) -> None:
        """Give the connection back."""
        await self._views.close()

    async def look(self, connection: AsyncConnection, one: Candidate, *, reboot: bool) -> Compared:
        """The device's files against what it has."""
        driver = self._drivers.get(one.vendor)
        model = driver.manifest.models.get(one.model) if driver else None
        if driver is None or model is None:
            return Compared(Verdict.BROKEN, why=f"model {one.model!r} is in no models.toml")
        try:
            view = await self._views.boot_view(one.mac)
            if view is None:
                return Compared(Verdict.BROKEN, why="it was removed")
            return await self._looked(connection, one, driver, model, view, reboot=reboot)
        except (StoreFailed, RenderFailed) as error:
            return Compared(Verdict.BROKEN, why=error.cause)

    async def _looked(
        self,
        connection: AsyncConnection,
        one: Candidate,
        driver: VendorDriver,
        model: Model,
        view: BootView,
        *,
        reboot: bool,
    ) -> Compared:
        shared = self._views.shared(view.device)
        merged = shared if view.layer is None else merge([view.layer], onto=shared)
        config = resolve(one.mac, model, view.lines, merged, emptied=view.emptied, wiped=view.wiped)
        event, patience = driver.resync_event(model, reboot), polls_within(config)
        if not view.lines and not view.wiped and config.get(ACTIVATION):
            # Its files are never twice the same; only a change of its own (a line was taken away) is worth telling.
            own = one.changed > one.served
            return Compared(Verdict.DIFFERS if own else Verdict.WAITING, event, view.revision, patience)
        verdict, why, whole = Verdict.UNKNOWN, "", False
        for served in one.files:
            file = self._file(driver, model, served)
            if file is None or (file.name in view.uploads and file.upload):
                continue
            made = self._config(config, model, served)
            whole = whole or (file.kind is FileKind.DEVICE and not made.upgrade_only)
            if not await self._same(connection, driver, file, made, served):
                verdict, why = Verdict.DIFFERS, served.file
                break
            verdict = Verdict.SAME if served.digest else verdict
        return Compared(verdict, event, view.revision, patience, why, whole)

    def _file(self, driver: VendorDriver, model: Model, served: Served) -> DeviceFile | None:
        """As the device asked for it: a driver may look at the firmware that its User-Agent names."""
        file = driver.match(served.file, "")
        if file is None or file.kind not in _MADE:
            return None
        return replace(file, agent=file.agent._replace(model=model.name, firmware=served.firmware))

    def _config(self, config: ResolvedConfig, model: Model, served: Served) -> ResolvedConfig:
        below = bool(served.firmware and model.min_firmware) and older(served.firmware, model.min_firmware)
        return replace(config, upgrade_only=below, base_url=self._base_urls.get(ListenerKind(served.listener), ""))

    async def _same(
        self,
        connection: AsyncConnection,
        driver: VendorDriver,
        file: DeviceFile,
        config: ResolvedConfig,
        served: Served,
    ) -> bool:
        try:
            body = driver.render(file, config)
        except NoSuchFile:
            return not served.digest  # had it one, it would not get it any more
        if served.proof == Proof.TOKEN:
            had = await read_body(connection, self._store.box, config.mac, served.file)
            return had is not None and _TOKEN.sub(b"", had) == body
        return hashlib.sha256(body).hexdigest() == served.digest


def polls_within(config: ResolvedConfig) -> float:
    """Seconds after which a device has polled by itself, whenever they begin: its period and its nightly window."""
    begin, end = (_minutes(config.get(one)) for one in (POLL_FROM, POLL_TO))
    window = ((end - begin) % 1440 or 1440) * 60.0
    return max(float(config.get(POLL_PERIOD)), _DAY) + window


def _minutes(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)
