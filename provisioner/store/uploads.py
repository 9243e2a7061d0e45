"""What devices send: sealed files under DATA/uploads, each written beside the old one and named by a row in the table.

The row is what counts: it is written after the new file is durable, and only then the old file goes. A crash at any
point leaves the old content or the new one.
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
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import Conflict, StoreFailed, TooLarge, UnknownDevice
from provisioner.model import Mac
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.engine import is_sqlite
from provisioner.store.rows import Upload
from provisioner.store.secretbox import HEADER

FILES_A_DEVICE: Final = 32
"""Names one device may use; a phone has fewer than ten."""
_UNDER_WAY: Final = 600.0
"""s; a younger file may be one that another put is about to name in a row."""
_U: Final = schema.upload.c


class UploadShelf:
    """The device edge's side of uploads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._insert = (sqlite if is_sqlite(store.url) else postgresql).insert

    async def put(self, mac: Mac, name: str, kind: str, body: bytes) -> None:
        """Keep it in place of the one before, durable on return; StoreFailed leaves the one before."""
        await asyncio.sleep(0)  # a request may be begun outside of a Task, which waiting for a connection needs
        await self._check_room(mac, name)
        digest = hashlib.sha256(body).hexdigest()
        sealed = self._store.box.seal(body, "upload", mac, name)
        file = _file_name(name, digest)
        directory = self._store.uploads / mac
        try:
            await asyncio.to_thread(_write, directory / file, sealed)
        except OSError as error:
            raise StoreFailed(f"an upload of {mac} cannot be written: {error.strerror}") from error
        row = Upload(mac, name, str(kind), len(body), digest, time.time())
        try:
            displaced = await self._write_row(row, file)
        except Conflict as error:
            await self._drop(mac, name, directory / file)
            raise UnknownDevice(f"{mac} was removed while it sent a file") from error
        except StoreFailed:
            await self._drop(mac, name, directory / file)
            raise
        if stale := await asyncio.to_thread(_tidy, directory, _stem(name), displaced):
            await self._sweep(mac, name, stale)

    async def _sweep(self, mac: Mac, name: str, stale: Iterable[Path]) -> None:
        """Remove old files that no row names; what cannot be done now is the next put's: this one is kept already."""
        with suppress(StoreFailed, OSError):
            named = await self._file_of(mac, name)
            for path in stale:
                if path.name != named:
                    await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _check_room(self, mac: Mac, name: str) -> None:
        query = select(func.count()).where(_U.mac == mac, _U.name != name)
        async with self._store.reading() as connection:
            others = (await connection.execute(query)).scalar_one()
        if others >= FILES_A_DEVICE:
            raise TooLarge(f"{mac} has sent {others} files under different names already")

    async def _write_row(self, row: Upload, file: str) -> str | None:
        """Point the name at the new file; the old file's name, which nobody else will now take away."""
        values = {name: getattr(row, name) for name in Upload.__dataclass_fields__} | {"file": file}
        before = select(_U.file).where(_U.mac == row.mac, _U.name == row.name).with_for_update()
        query = self._insert(schema.upload).values(values)
        query = query.on_conflict_do_update(index_elements=["mac", "name"], set_=values)
        async with self._store.writing() as connection:
            displaced = (await connection.execute(before)).scalar_one_or_none()
            await connection.execute(query)
        return displaced

    async def _drop(self, mac: Mac, name: str, path: Path) -> None:
        """Remove a file that got no row, or retries would fill the disk; a commit whose answer was lost gave it one."""
        with suppress(StoreFailed):
            if await self._file_of(mac, name) != path.name:
                await asyncio.to_thread(path.unlink, missing_ok=True)

    async def get(self, mac: Mac, name: str) -> bytes | None:
        """The last upload under this name, or None."""
        await asyncio.sleep(0)  # as in put
        sealed = await self._read(mac, name) or await self._read(mac, name)
        if sealed is None:
            return None
        if not sealed:
            raise StoreFailed(f"the upload {name} of {mac} is missing below {self._store.uploads}")
        return self._store.box.open(sealed, "upload", mac, name)

    async def reseal(self, mac: Mac, name: str) -> bool:
        """Seal it with the newest key unless that has sealed it; whether that was to do. Other puts go before it."""
        directory = self._store.uploads / mac
        file = await self._file_of(mac, name)
        if file is None or self._store.box.is_current(await asyncio.to_thread(_head, directory / file)):
            return False
        body = await self.get(mac, name) or b""
        fresh = _file_name(name, hashlib.sha256(body).hexdigest())
        try:
            await asyncio.to_thread(_write, directory / fresh, self._store.box.seal(body, "upload", mac, name))
        except OSError as error:
            raise StoreFailed(f"an upload of {mac} cannot be written: {error.strerror}") from error
        query = update(schema.upload).where(_U.mac == mac, _U.name == name, _U.file == file).values(file=fresh)
        async with self._store.writing() as connection:
            won = (await connection.execute(query)).rowcount == 1
        await asyncio.to_thread((directory / (file if won else fresh)).unlink, missing_ok=True)
        return won

    async def _read(self, mac: Mac, name: str) -> bytes | None:
        """The sealed bytes; None without a row; empty when the file went, as it does when a new one takes its place."""
        file = await self._file_of(mac, name)
        if file is None:
            return None
        try:
            return await asyncio.to_thread((self._store.uploads / mac / file).read_bytes)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise StoreFailed(f"the upload {name} of {mac} cannot be read: {error.strerror}") from error

    async def _file_of(self, mac: Mac, name: str) -> str | None:
        query = select(_U.file).where(_U.mac == mac, _U.name == name)
        async with self._store.reading() as connection:
            return (await connection.execute(query)).scalar_one_or_none()


async def list_uploads(connection: AsyncConnection, mac: Mac) -> list[Upload]:
    """What a device has sent."""
    query = select(_U.name, _U.kind, _U.size, _U.digest, _U.at).where(_U.mac == mac).order_by(_U.name)
    return [Upload(mac, *row) for row in await connection.execute(query)]


def forget_files(uploads: Path, mac: Mac) -> None:
    """Remove a removed device's files; its rows went with it."""
    shutil.rmtree(uploads / mac, ignore_errors=True)


def _stem(name: str) -> str:
    """A file name of our own: what a device calls its file never becomes a path."""
    return hashlib.sha256(name.encode()).hexdigest()[:24]


def _file_name(name: str, digest: str) -> str:
    return f"{_stem(name)}-{digest[:16]}-{time.time_ns():x}"


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
