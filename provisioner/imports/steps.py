"""What an import does for a row, step by step; each is what one use-case of the administrator does. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from provisioner.imports.rows import Fault, Row
from provisioner.model import Device, Mac
from provisioner.store.rows import Binding, Extension, Site, User


class Outcome(StrEnum):
    """What becomes of a row."""

    ADD = "add"
    CHANGE = "change"
    SAME = "already so"
    LEFT_OUT = "left out"
    """Its source has switched it off."""
    REFUSED = "refused"
    NOT_DONE = "not done"
    """The import was stopped before its turn came."""


@dataclass(frozen=True, slots=True)
class Step:
    """A change that is part of a row's."""

    adds: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class AddSite(Step):
    """A new place."""

    site: Site

    def __str__(self) -> str:
        """For people."""
        return f"site {self.site.name!r}"


@dataclass(frozen=True, slots=True)
class AddUser(Step):
    """A new user."""

    user: User

    def __str__(self) -> str:
        """For people."""
        return f"user {self.user.name!r}"


@dataclass(frozen=True, slots=True)
class SetEmail(Step):
    """The address of a user who had none."""

    adds = False
    user: User
    """As they are afterwards."""

    def __str__(self) -> str:
        """For people."""
        return f"mail address of user {self.user.name!r}"


@dataclass(frozen=True, slots=True)
class AddExtension(Step):
    """A new number; an empty secret is made up."""

    extension: Extension
    secret: str = field(repr=False)

    def __str__(self) -> str:
        """For people."""
        return f"extension {self.extension.number}"


@dataclass(frozen=True, slots=True)
class SetSecret(Step):
    """Another SIP secret."""

    adds = False
    extension: Extension
    secret: str = field(repr=False)

    def __str__(self) -> str:
        """For people."""
        return f"secret of extension {self.extension.number}"


@dataclass(frozen=True, slots=True)
class AddDevice(Step):
    """A new device."""

    device: Device

    def __str__(self) -> str:
        """For people."""
        return f"device {self.device.mac.colons} ({self.device.model})"


@dataclass(frozen=True, slots=True)
class MoveDevice(Step):
    """To another site of its account."""

    adds = False
    device: Device
    """As it is afterwards."""
    before: str
    site: str
    """Its name."""

    def __str__(self) -> str:
        """For people."""
        return f"device {self.device.mac.colons} to site {self.site!r}"


@dataclass(frozen=True, slots=True)
class SetModel(Step):
    """Another model of the same vendor."""

    adds = False
    device: Device
    """As it is afterwards."""
    before: str

    def __str__(self) -> str:
        """For people."""
        return f"model of device {self.device.mac.colons}: {self.before} becomes {self.device.model}"


@dataclass(frozen=True, slots=True)
class Bind(Step):
    """An extension on a line."""

    binding: Binding
    extension: Extension
    device: Device

    def __str__(self) -> str:
        """For people."""
        return f"{self.extension.number} on line {self.binding.line} of {self.binding.mac.colons}"


@dataclass(frozen=True, slots=True)
class Relabel(Step):
    """Other words beside a key: the binding ends, and one with them begins."""

    adds = False
    before: Binding
    bind: Bind

    def __str__(self) -> str:
        """For people."""
        return f"label of line {self.before.line} of {self.before.mac.colons}"


@dataclass(frozen=True, slots=True)
class Planned:
    """What becomes of a row, and why."""

    line: int
    file: int
    outcome: Outcome
    does: tuple[str, ...] = ()
    """What is added or changed, for people."""
    why: str = ""
    column: str = ""
    """Where it is wrong, when it is refused."""
    warnings: tuple[str, ...] = ()
    mac: Mac | None = None
    steps: tuple[Step, ...] = field(default=(), repr=False)


def refused(one: Fault) -> Planned:
    """A row that cannot be read."""
    return Planned(one.line, one.file, Outcome.REFUSED, why=one.why, column=one.column)


def groups(rows: Iterable[Row]) -> list[tuple[Row, ...]]:
    """Rows that belong together: those of one device. No device ever stands there with half of its lines."""
    found: dict[object, list[Row]] = {}
    for row in rows:
        found.setdefault(row.mac or (row.file, row.line), []).append(row)
    return [tuple(group) for group in found.values()]


def batches(rows: Iterable[Row], most: int) -> Iterable[tuple[Row, ...]]:
    """The groups in their order, several at a time; a device with more lines than that is one by itself."""
    batch: list[Row] = []
    for group in groups(rows):
        if batch and len(batch) + len(group) > most:
            yield tuple(batch)
            batch = []
        batch.extend(group)
    if batch:
        yield tuple(batch)
