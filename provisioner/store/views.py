"""The boot path's reads: one indexed SELECT a device, and everything that devices share from memory.

On SQLite the SELECT runs on the caller's thread over a read-only connection: in WAL mode it waits for no writer, and
a hop to another thread would cost more than the read. What is shared is loaded once and again when the revision moves.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import ColumnElement, CompoundSelect, Select, bindparam, func, literal_column, select
from sqlalchemy.engine import URL

from provisioner import wiping
from provisioner.errors import StoreFailed
from provisioner.layers import Merged, merge
from provisioner.model import BootView, ConfigLayer, Device, Line, Mac, Scope
from provisioner.rollout_states import PARTS
from provisioner.store import schema
from provisioner.store.crowds import Crowds
from provisioner.store.database import Store
from provisioner.store.devices import state_of
from provisioner.store.engine import failing_clearly, is_sqlite, plain_sql, read_only, reading
from provisioner.store.rolled import Place, Turn, all_layers, one_layer, place_of
from provisioner.store.secretbox import SecretBox
from provisioner.store.values import unpack_layer

_log: Final = logging.getLogger(__name__)
_D: Final = schema.device.c
_E: Final = schema.extension.c
MERGED_KEPT: Final = 10_000
"""Merged layers that are kept: one for each model at each site with a layer of its own."""
_NO_LAYER: Final = ConfigLayer(Scope.BUILT_IN, "")
_SEPARATOR: Final = "/"
"""Between uploads; a DeviceFile's name may hold it, so they are joined by it twice."""
_OWNED: Final = ":"
"""Between an upload's owner, an id of letters and digits, and its name."""

Rows = Sequence[Sequence[Any]]
_Layers = dict[Place, ConfigLayer | StoreFailed]
_Turns = dict[Place, Turn]
"""Layers that are being rolled out."""
_Touched = Mapping[tuple[str, str], int]
"""The last change of each layer that devices share."""
_Dated = Callable[[Device], int]
"""The last change of any layer below a device's own."""
_DEFAULTS: Final = ("defaults", "")


def _boot_select() -> Select[Any]:
    """Device, pin, own layer and uploads in each row, one row a line."""
    device, pin, layer, upload = schema.device, schema.pin, schema.layer, schema.upload
    binding, extension = schema.binding, schema.extension
    separator: ColumnElement[str] = literal_column(f"'{_SEPARATOR * 2}'")
    owned = upload.c.owner.concat(literal_column(f"'{_OWNED}'")).concat(upload.c.name)
    names = func.aggregate_strings(owned, separator)  # type: ignore[arg-type]  # a literal: no second parameter
    uploads = select(names).where(upload.c.mac == _D.mac).correlate(device).scalar_subquery()
    columns = (
        _D.vendor, _D.model, _D.account, _D.site, _D.revoked, pin.c.spki, _D.firmware, _D.seen_modern,
        _D.allow_token, _D.allow_digest, _D.allow_expired, _D.digest_secret, layer.c.entries, layer.c.raw, uploads,
        _D.served, _D.changed,
        binding.c.line, binding.c.label, _E.id, _E.number, _E.auth_user, _E.secret, _E.display_name,
        select(schema.revision.c.value).scalar_subquery(), _E.user, _D.emptied,
    )  # fmt: skip
    own_layer = (layer.c.scope == literal_column(f"'{Scope.DEVICE.value}'")) & (layer.c.key == _D.mac)
    joined = (
        device.outerjoin(pin, pin.c.mac == _D.mac)
        .outerjoin(layer, own_layer)
        .outerjoin(binding, (binding.c.mac == _D.mac) & binding.c.until.is_(None))
        .outerjoin(extension, _E.id == binding.c.extension)
    )
    return select(*columns).select_from(joined).where(_D.mac == bindparam("mac"))


_DEVICE: Final = slice(0, 17)
_LINE: Final = slice(17, 24)
_AT: Final = 24
"""Column of the revision that the rows were read at."""
_USER: Final = 25
"""Column of the user whose line it is."""
_EMPTIED: Final = 26
"""Column of what the device is to forget."""


def boot_view_of(mac: Mac, rows: Rows, box: SecretBox, dated: _Dated) -> BootView | None:
    """Build the frozen values; StoreFailed when a row or a secret in it is damaged."""
    if not rows:
        return None
    try:
        bound = sorted((row for row in rows if row[17] is not None), key=itemgetter(17))
        lines = tuple([_line(row[_LINE], box) for row in bound])
        return _view(mac, bound[0] if bound else rows[0], lines, box, dated)
    except (TypeError, ValueError, AttributeError) as error:
        raise StoreFailed(f"the row of device {mac} is damaged: {type(error).__name__}") from error


def _line(row: Sequence[Any], box: SecretBox) -> Line:
    number, label, ident, extension, auth_user, sealed, display = row
    secret = box.open(sealed, "extension", ident, "secret").decode()
    return Line(_checked(int, number), extension, auth_user, secret, display, label)


def _checked(kind: type[int], value: Any) -> int:
    """SQLite keeps whatever a damaged or hand-edited row holds; a line number is a whole number."""
    if value.__class__ is not kind:
        raise TypeError
    return int(value)


def _view(mac: Mac, row: Sequence[Any], lines: tuple[Line, ...], box: SecretBox, dated: _Dated) -> BootView:
    entries, raw, names, served, changed = row[_DEVICE][12:]
    device = _device(mac, row[_DEVICE][:12], lines, box)
    layer = None if entries is None else unpack_layer(Scope.DEVICE, mac, entries, raw, box)
    owner = row[_USER] or ""
    last = dated(device)
    emptied, wiped = wiping.read(row[_EMPTIED]) if row[_EMPTIED] else ((), False)
    return BootView(
        device,
        lines,
        layer,
        _uploads(names, owner) if names else frozenset(),
        row[_AT],
        -1 if served is None else served,
        last if last > changed else changed,
        owner,
        emptied,
        wiped,
    )


def _device(mac: Mac, row: Sequence[Any], lines: tuple[Line, ...], box: SecretBox) -> Device:
    vendor, model, account, site, revoked, spki, firmware, modern, token, digest, expired, sealed = row
    return Device(
        mac,
        vendor,
        model,
        state_of(bool(revoked), bool(lines)),
        account,
        site or "",
        spki or "",
        firmware,
        bool(modern),
        bool(token),
        bool(digest),
        bool(expired),
        "" if sealed is None else box.open(sealed, "device", mac, "digest_secret").decode(),
    )


def _uploads(names: str, owner: str) -> frozenset[str]:
    """The owner's alone; a former owner's lie beside them."""
    found = (one.partition(_OWNED) for one in names.split(_SEPARATOR * 2))
    return frozenset(name for whose, _, name in found if whose == owner)


def _below(device: Device) -> tuple[tuple[str, str], ...]:
    """The layers below a device's own, in the order in which they are merged."""
    return (
        _DEFAULTS,
        ("vendor", device.vendor),
        ("model", f"{device.vendor}/{device.model}"),
        ("account", device.account),
        ("site", device.site),
    )


class Views:
    """What one worker reads."""

    def __init__(self, store: Store, built_in: ConfigLayer = _NO_LAYER) -> None:
        self.generation = 0
        """The revision up to which changes are known here; grows with every administrator's change."""
        self._store = store
        self._built_in = built_in
        self._reader: _Reader = _SqliteReader(store.url) if is_sqlite(store.url) else _EngineReader(store)
        self._crowds = Crowds(store)
        self._layers: _Layers = {}
        self._turns: _Turns = {}
        self._touched: _Touched = {}
        self._dates: dict[tuple[str, str, str, str], int] = {}
        self._merged: OrderedDict[tuple[str, ...], Merged] = OrderedDict()
        self._following = asyncio.Lock()
        """One reload at a time: what a slow one has read must not come over what a later one knows."""
        self._failing = False

    async def open(self) -> None:
        """Load what is shared; StoreFailed when the database cannot be read."""
        with failing_clearly():
            await self._reader.open()
            await self._reload()

    async def close(self) -> None:
        """Give the connection back."""
        await self._reader.close()

    async def boot_view(self, mac: Mac) -> BootView | None:
        """Everything the store knows for a device's boot, or None; exactly one SELECT while nothing has changed.

        What is shared is brought up to the same revision first: a device that was added after its account's layer must
        not boot with the one and without the other.
        """
        with failing_clearly():
            rows = await self._reader.boot_rows(mac)
            while rows and rows[0][_AT] > self.generation and await self._follow():
                rows = await self._reader.boot_rows(mac)
        return boot_view_of(mac, rows, self._store.box, self._last_change)

    def _last_change(self, device: Device) -> int:
        place = device.vendor, device.model, device.account, device.site
        found = self._dates.get(place)
        if found is None:
            if len(self._dates) >= MERGED_KEPT:
                self._dates.clear()
            found = self._dates[place] = max(self._touched.get(key, 0) for key in _below(device))
        return found

    def weights(self) -> Mapping[str, int]:
        """Address (IPv4, or IPv6 /64) -> known devices that have proven themselves there; replaced as a whole."""
        return self._crowds.weights

    def populations(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Devices of each site and of each account; new mappings when they change."""
        return self._crowds.sites, self._crowds.accounts

    async def learn(self) -> None:
        """Bring weights and populations up to date where it is time to; call it every few seconds."""
        await self._crowds.learn(self.generation)

    def shared(self, device: Device) -> Merged:
        """The layers below the device's own, merged; StoreFailed when one of them is damaged."""
        below: Iterable[Place] = self._places(device) if self._turns else _below(device)
        path = [key for key in below if key in self._layers]
        wanted = (device.vendor, *(word for key in path for word in key))
        merged = self._merged.get(wanted)
        if merged is None:
            merged = self._merged[wanted] = self._merge(device.vendor, path)
            if len(self._merged) > MERGED_KEPT:
                self._merged.popitem(last=False)
        else:
            self._merged.move_to_end(wanted)
        return merged

    def _places(self, device: Device) -> Iterable[Place]:
        """Of layers that are being rolled out, the value that is this device's."""
        for key in _below(device):
            turn = self._turns.get(key)
            yield key if turn is None else turn.place(key, device.mac)

    def _merge(self, vendor: str, path: Iterable[Place]) -> Merged:
        layers = [self._built_in]
        for key in path:
            layer = self._layers[key]
            if isinstance(layer, StoreFailed):
                raise StoreFailed(layer.cause)
            layers.append(for_vendor(layer, vendor))
        return merge(layers)

    async def refresh(self) -> bool:
        """Take up administrators' changes since the last call; whether there were any.

        Called several times a second for ever, so a database that fails is told of once in the log and tried again:
        until then devices get what was last known.
        """
        try:
            with failing_clearly():
                changed = await self._follow()
        except StoreFailed as error:
            if not self._failing:
                _log.warning("changes cannot be read, serving what is known: %s", error.cause)
            self._failing = True
            return False
        self._failing = False
        return changed

    async def _follow(self) -> bool:
        async with self._following:
            return await self._follow_alone()

    async def _follow_alone(self) -> bool:
        if await self._reader.revision() == self.generation:
            return False
        changes = await self._reader.changes(self.generation)
        numbers = {number for number, _, _ in changes}
        if numbers and numbers == set(range(self.generation + 1, max(numbers) + 1)):
            shared = {(scope, key): number for number, scope, key in changes if scope != Scope.DEVICE.value}
            await self._reload_some(shared, max(numbers))
        else:  # too far behind, or the database was put back from a backup
            await self._reload()
        return True

    async def _reload(self) -> None:
        revision = await self._reader.revision()
        layers, turns = _Layers(), _Turns()
        self._sort(await self._reader.layers(), layers, turns)
        touched = {(row[0], row[1]): int(row[2]) for row in await self._reader.touched()}
        self._take_up(layers, turns, touched, revision)

    async def _reload_some(self, shared: _Touched, revision: int) -> None:
        layers = {place: one for place, one in self._layers.items() if place[:2] not in shared}
        turns = {place: one for place, one in self._turns.items() if place not in shared}
        for scope, key in shared:
            self._sort(await self._reader.layer(scope, key), layers, turns)
        if shared:
            self._take_up(layers, turns, {**self._touched, **shared}, revision)
        else:
            self.generation = revision

    def _take_up(self, layers: _Layers, turns: _Turns, touched: _Touched, revision: int) -> None:
        """All at once and after the last read: a read that fails or lasts leaves what was known, whole."""
        self._layers, self._merged, self._touched, self._dates = layers, OrderedDict(), touched, {}
        self._turns, self.generation = turns, revision

    def _sort(self, rows: Rows, layers: _Layers, turns: _Turns) -> None:
        for scope, key, entries, raw, share, salt in rows:
            if entries is not None:
                layers[place_of(scope, key, share)] = self._unpack(scope, key, entries, raw)
            if share < PARTS:
                turns[scope, key] = Turn(share, salt)

    def _unpack(self, scope: str, key: str, entries: str, raw: bytes | None) -> ConfigLayer | StoreFailed:
        try:
            return unpack_layer(Scope(scope), key, entries, raw, self._store.box)
        except StoreFailed as error:
            _log.error("%s; devices below it are not served until it is set again", error.cause)
            return error


def for_vendor(layer: ConfigLayer, vendor: str) -> ConfigLayer:
    """The layer as one vendor's devices see it: ``vendor:name`` among raw parameters means that vendor only."""
    if not any(":" in name for name in layer.raw):
        return layer
    mine = {name.partition(":")[2]: value for name, value in layer.raw.items() if name.partition(":")[0] == vendor}
    return ConfigLayer(layer.scope, layer.key, layer.values, mine)


_BOOT: Final = _boot_select()
_LAYERS: Final = all_layers()
_LAYER: Final = one_layer()
_REVISION: Final = select(schema.revision.c.value)
_T: Final = schema.touched.c
_TOUCHED: Final = select(_T.scope, _T.key, _T.revision)
_C: Final = schema.change.c
_CHANGES: Final = select(_C.revision, _C.scope, _C.key).where(_C.revision > bindparam("revision")).order_by(_C.revision)


class _SqliteReader:
    """A read-only connection of its own, used on the caller's thread."""

    _BOOT = plain_sql(_BOOT)
    _REVISION = plain_sql(_REVISION)
    _CHANGES = plain_sql(_CHANGES)
    _LAYERS = plain_sql(_LAYERS)
    _LAYER = plain_sql(_LAYER)
    _TOUCHED = plain_sql(_TOUCHED)

    def __init__(self, url: URL) -> None:
        self._url = url
        self._connection: sqlite3.Connection | None = None

    def _execute(self, sql: str, values: Mapping[str, object]) -> Rows:
        if self._connection is None:
            raise StoreFailed("the database is not open")
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.DatabaseError:
            # Its cache may hold the damaged page: once the file is put back, a new connection reads it as it is.
            self._connection.close()
            self._open()
            raise

    async def open(self) -> None:
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        self._connection = read_only(self._url)

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def boot_rows(self, mac: Mac) -> Rows:
        return self._execute(self._BOOT, {"mac": str(mac)})  # a plain str spares sqlite3 the search for an adapter

    async def revision(self) -> int:
        return int(self._execute(self._REVISION, {})[0][0])

    async def changes(self, after: int) -> Rows:
        return self._execute(self._CHANGES, {"revision": after})

    async def layers(self) -> Rows:
        return self._execute(self._LAYERS, {})

    async def layer(self, scope: str, key: str) -> Rows:
        return self._execute(self._LAYER, {"scope": scope, "key": key})

    async def touched(self) -> Rows:
        return self._execute(self._TOUCHED, {})


class _EngineReader:
    """Any other database, over the store's pool; each read is one round trip."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine.execution_options(isolation_level="AUTOCOMMIT")

    async def _execute(self, statement: Select[Any] | CompoundSelect[Any], values: Mapping[str, object]) -> Rows:
        await asyncio.sleep(0)  # a driver may need a Task of its own, which a request has once it has waited
        async with reading(self._engine) as connection:
            rows: Rows = (await connection.execute(statement, values)).all()
        return rows

    async def open(self) -> None:
        await self.revision()

    async def close(self) -> None:
        """The pool belongs to the store."""

    async def boot_rows(self, mac: Mac) -> Rows:
        return await self._execute(_BOOT, {"mac": mac})

    async def revision(self) -> int:
        return int((await self._execute(_REVISION, {}))[0][0])

    async def changes(self, after: int) -> Rows:
        return await self._execute(_CHANGES, {"revision": after})

    async def layers(self) -> Rows:
        return await self._execute(_LAYERS, {})

    async def layer(self, scope: str, key: str) -> Rows:
        return await self._execute(_LAYER, {"scope": scope, "key": key})

    async def touched(self) -> Rows:
        return await self._execute(_TOUCHED, {})


_Reader = _SqliteReader | _EngineReader
