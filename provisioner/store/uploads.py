"""What devices send: sealed files under DATA/uploads, each written beside the old one and named by a row in the table.

The row is what counts: it is written after the new file is durable, and only then the old file goes. A crash at any
point leaves the old content or the new one.

Each is its owner's: of the user on the device's first line, while that configuration is what the device runs. The next
user's files lie beside them under the same names, and only the present owner's are served; so contacts and call lists
never cross over, whichever way a line changes hands, and are there again when it is given back.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import Conflict, StoreFailed, TooLarge, UnknownDevice
from provisioner.model import Mac
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.engine import is_sqlite
from provisioner.store.rows import HeldUpload, Upload
from provisioner.store.secretbox import HEADER

FILES_A_DEVICE: Final = 32
"""Names one device may use for one owner; a phone has fewer than ten."""
NOBODY: Final = ""
"""The owner of what a device sends that has no line."""
_UNDER_WAY: Final = 600.0
"""s; a younger file may be one that another put is about to name in a row."""
_U: Final = schema.upload.c
_D: Final = schema.device.c
_B: Final = schema.binding.c
_E: Final = schema.extension.c


class Place(NamedTuple):
    """Where an upload belongs."""

    mac: Mac
    owner: str
    name: str

    @property
    def row(self) -> ColumnElement[bool]:
        """Its row."""
        return (_U.mac == self.mac) & (_U.owner == self.owner) & (_U.name == self.name)

    @property
    def stem(self) -> str:
        """A file name of our own: what a device calls its file never becomes a path."""
        return hashlib.sha256(f"{self.owner}/{self.name}".encode()).hexdigest()[:24]

    def file(self, digest: str) -> str:
        """Another file name for each content and time."""
        return f"{self.stem}-{digest[:16]}-{time.time_ns():x}"


class UploadShelf:
    """The device edge's side of uploads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._insert = (sqlite if is_sqlite(store.url) else postgresql).insert

    async def put(self, mac: Mac, name: str, kind: str, body: bytes) -> None:
        """Keep it in place of its owner's one before, durable on return; StoreFailed leaves the one before."""
        await asyncio.sleep(0)  # a request may be begun outside of a Task, which waiting for a connection needs
        place = await self._room(mac, name)
        digest = hashlib.sha256(body).hexdigest()
        sealed = self._store.box.seal(body, "upload", mac, name)
        file = place.file(digest)
        directory = self._store.uploads / mac
        try:
            await asyncio.to_thread(_write, directory / file, sealed)
        except OSError as error:
            raise StoreFailed(f"an upload of {mac} cannot be written: {error.strerror}") from error
        row = Upload(mac, name, str(kind), len(body), digest, time.time(), place.owner)
        try:
            displaced = await self._write_row(place, row, file)
        except Conflict as error:
            await self._drop(place, directory / file)
            raise UnknownDevice(f"{mac} was removed while it sent a file") from error
        except StoreFailed:
            await self._drop(place, directory / file)
            raise
        if stale := await asyncio.to_thread(_tidy, directory, place.stem, displaced):
            await self._sweep(place, stale)

    async def _room(self, mac: Mac, name: str) -> Place:
        """Whose it will be; TooLarge when the device has no name left."""
        async with self._store.reading() as connection:
            place = Place(mac, await owner_of(connection, mac), name)
            query = select(func.count()).where(_U.mac == mac, _U.owner == place.owner, _U.name != name)
            others = (await connection.execute(query)).scalar_one()
        if others >= FILES_A_DEVICE:
            raise TooLarge(f"{mac} has sent {others} files under different names already")
        return place

    async def _sweep(self, place: Place, stale: Iterable[Path]) -> None:
        """Remove old files that no row names; what cannot be done now is the next put's: this one is kept already."""
        with suppress(StoreFailed, OSError):
            named = await self._file_of(place)
            for path in stale:
                if path.name != named:
                    await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _write_row(self, place: Place, row: Upload, file: str) -> str | None:
        """Point the name at the new file; the old file's name, which nobody else will now take away."""
        values = {name: getattr(row, name) for name in Upload.__dataclass_fields__} | {"file": file}
        before = select(_U.file).where(place.row).with_for_update()
        query = self._insert(schema.upload).values(values)
        query = query.on_conflict_do_update(index_elements=["mac", "owner", "name"], set_=values)
        async with self._store.writing() as connection:
            displaced = (await connection.execute(before)).scalar_one_or_none()
            await connection.execute(query)
        return displaced

    async def _drop(self, place: Place, path: Path) -> None:
        """Remove a file that got no row, or retries would fill the disk; a commit whose answer was lost gave it one."""
        with suppress(StoreFailed):
            if await self._file_of(place) != path.name:
                await asyncio.to_thread(path.unlink, missing_ok=True)

    async def get(self, mac: Mac, name: str, owner: str = NOBODY) -> bytes | None:
        """What came last for this owner under this name, or None."""
        await asyncio.sleep(0)  # as in put
        place = Place(mac, owner, name)
        sealed = await self._read(place) or await self._read(place)
        if sealed is None:
            return None
        if not sealed:
            raise StoreFailed(f"the upload {name} of {mac} is missing below {self._store.uploads}")
        return self._store.box.open(sealed, "upload", mac, name)

    async def reseal(self, mac: Mac, name: str, owner: str) -> bool:
        """Seal it with the newest key unless that has sealed it; whether that was to do. Other puts go before it."""
        place, directory = Place(mac, owner, name), self._store.uploads / mac
        file = await self._file_of(place)
        if file is None or self._store.box.is_current(await asyncio.to_thread(_head, directory / file)):
            return False
        body = await self.get(mac, name, owner) or b""
        fresh = place.file(hashlib.sha256(body).hexdigest())
        try:
            await asyncio.to_thread(_write, directory / fresh, self._store.box.seal(body, "upload", mac, name))
        except OSError as error:
            raise StoreFailed(f"an upload of {mac} cannot be written: {error.strerror}") from error
        query = update(schema.upload).where(place.row, _U.file == file).values(file=fresh)
        async with self._store.writing() as connection:
            won = (await connection.execute(query)).rowcount == 1
        await asyncio.to_thread((directory / (file if won else fresh)).unlink, missing_ok=True)
        return won

    async def _read(self, place: Place) -> bytes | None:
        """The sealed bytes; None without a row; empty when the file went, as it does when a new one takes its place."""
        file = await self._file_of(place)
        if file is None:
            return None
        try:
            return await asyncio.to_thread((self._store.uploads / place.mac / file).read_bytes)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise StoreFailed(f"the upload {place.name} of {place.mac} cannot be read: {error.strerror}") from error

    async def _file_of(self, place: Place) -> str | None:
        async with self._store.reading() as connection:
            return (await connection.execute(select(_U.file).where(place.row))).scalar_one_or_none()


async def owner_of(connection: AsyncConnection, mac: Mac) -> str:
    """Whose configuration the device runs: of the user on its first line when it was last sent its own.

    Between a change of hands and that a phone still works for its former user, whatever else it fetches: what it sends
    is theirs. One that was never sent any works for nobody else than whom it is bound to now.
    """
    served = (await connection.execute(select(_D.served_at).where(_D.mac == mac))).scalar_one_or_none()
    if served is None:
        return await _user_of(connection, mac, _B.until.is_(None))
    return await _user_of(connection, mac, (_B.since <= served) & or_(_B.until.is_(None), _B.until > served))


async def _user_of(connection: AsyncConnection, mac: Mac, when: ColumnElement[bool]) -> str:
    """The user on the first of the lines that the device had then."""
    query = select(_E.user).join(schema.binding, _B.extension == _E.id).where(_B.mac == mac, when)
    return (await connection.execute(query.order_by(_B.line).limit(1))).scalar_one_or_none() or NOBODY


async def list_uploads(connection: AsyncConnection, mac: Mac) -> list[HeldUpload]:
    """What a device has sent, whoever had it then."""
    now = await _user_of(connection, mac, _B.until.is_(None))
    query = select(_U.name, _U.kind, _U.size, _U.at, _U.digest, _U.owner, schema.user.c.name.label("whose"))
    query = query.select_from(schema.upload.outerjoin(schema.user, schema.user.c.id == _U.owner))
    rows = await connection.execute(query.where(_U.mac == mac).order_by(_U.name, _U.at))
    return [HeldUpload(*row[:5], row.whose or row.owner, row.owner == now) for row in rows]


async def owner_with(connection: AsyncConnection, mac: Mac, digest: str) -> str:
    """Whose the file with this content is, the first by name where several are alike; nobody's where there is none."""
    query = select(_U.owner).where(_U.mac == mac, _U.digest == digest).order_by(_U.name, _U.at).limit(1)
    return (await connection.execute(query)).scalar_one_or_none() or NOBODY


async def forget_owner(connection: AsyncConnection, user: str) -> list[tuple[str, str]]:
    """Nobody shall get what this user's phones have sent; whose files they are and how they are called."""
    gone = await connection.execute(delete(schema.upload).where(_U.owner == user).returning(_U.mac, _U.file))
    return [(mac, file) for mac, file in gone]


def remove_files(uploads: Path, files: Iterable[tuple[str, str]]) -> None:
    """Remove files whose rows are gone; one that cannot be removed is sealed, and nobody finds it any more."""
    for mac, file in files:
        with suppress(OSError):
            (uploads / mac / file).unlink()


def forget_files(uploads: Path, mac: Mac) -> None:
    """Remove a removed device's files; its rows went with it."""
    shutil.rmtree(uploads / mac, ignore_errors=True)


def _tidy(directory: Path, stem: str, displaced: str | None) -> list[Path]:
    """Remove the file just displaced; which others of its name are too old to be under way, as crashes leave them."""
    if displaced:
        with suppress(OSError):
            (directory / displaced).unlink()
    before = time.time() - _UNDER_WAY
    with suppress(OSError):
        return [path for path in directory.glob(f"{stem}-*") if path.stat().st_mtime < before]
    return []  # one went meanwhile: another put is tidying up


def _head(path: Path) -> bytes:
    """Enough to see which key has sealed it; empty where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(HEADER)
    except OSError:
        return b""


def _write(path: Path, sealed: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
