"""DATA/run: whose installation this is right now. The lock tells the living from the stale, never a number in a file.

The kernel drops a lock with the process that holds it, so a pid file left by a power cut stands in nobody's way.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from provisioner.errors import Unusable
from provisioner.model import ListenerKind

log: Final = logging.getLogger("provisioner.server")

ADDRESSES: Final = "addresses.json"


class RunDirectory:
    """Lock, pid, bound addresses and metrics of the one server that runs on this DATA."""

    def __init__(self, data: Path) -> None:
        self.path = data / "run"
        self.metrics = self.path / "metrics"
        self._pid_file = self.path / "server.pid"
        self._lock: int | None = None

    def claim(self) -> None:
        """Become the one server of this DATA; Unusable names the pid of the other."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._locked()
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
            self._clean()
        except OSError as error:
            raise Unusable(
                f"{self.path} cannot be written ({error.strerror}); give the server's user the right, or space"
            ) from error

    def _locked(self) -> int:
        while True:
            lock = os.open(self._pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
                os.close(lock)
                raise already_runs(holder, self.path.parent) from None
            if self._is_current(lock):
                return lock
            os.close(lock)  # its owner removed the file between our open and our lock

    def _is_current(self, lock: int) -> bool:
        try:
            return os.path.samestat(os.fstat(lock), self._pid_file.stat())
        except FileNotFoundError:
            return False

    def _clean(self) -> None:
        (self.path / ADDRESSES).unlink(missing_ok=True)
        shutil.rmtree(self.metrics, ignore_errors=True)
        self.metrics.mkdir(mode=0o700)

    def write_addresses(self, sockets: Mapping[ListenerKind, socket.socket]) -> None:
        """Tell where each listener is bound, complete or not at all: port 0 is chosen by the kernel.

        Called when the server serves; a full disk is told and keeps no phone from booting.
        """
        bound = {kind.value: sock.getsockname() for kind, sock in sockets.items()}
        found = {kind: {"host": name[0], "port": name[1]} for kind, name in bound.items()}
        partial = self.path / f".{ADDRESSES}.partial"
        try:
            partial.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
            partial.replace(self.path / ADDRESSES)
        except OSError as error:
            log.error("%s cannot be written: %s", self.path / ADDRESSES, error.strerror)

    def forget(self) -> None:
        """In a child: let go of the lock, which stays with the control process."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def release(self) -> None:
        """Leave nothing behind that says a server runs."""
        if self._lock is not None:
            (self.path / ADDRESSES).unlink(missing_ok=True)
            self._pid_file.unlink(missing_ok=True)
            self.forget()


def running_pid(data: Path) -> str:
    """The pid of the server that holds this DATA's lock; empty when none does, whatever files one has left behind."""
    try:
        lock = os.open(data / "run" / "server.pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
    else:
        return ""
    finally:
        os.close(lock)


def already_runs(pid: str, data: Path) -> Unusable:
    """What a second server is told."""
    return Unusable(
        f"another server (pid {pid}) already runs on {data}; stop it (kill {pid}), "
        "or give this one a directory of its own with --data"
    )


def read_addresses(data: Path) -> Mapping[ListenerKind, tuple[str, int]]:
    """Where the server on this DATA listens; empty while none does."""
    try:
        document: Mapping[str, Mapping[str, str | int]] = json.loads((data / "run" / ADDRESSES).read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    if not running_pid(data):  # left by a server that was killed
        return {}
    return {ListenerKind(kind): (str(at["host"]), int(at["port"])) for kind, at in document.items()}
