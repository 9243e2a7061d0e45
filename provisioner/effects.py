"""What a change of a layer would make of phones: how many of each model, and what some of each would get, compared.

Nothing is kept. A phone's files are made twice, as it would get them now and with the change; secrets are taken out of
what is shown afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from provisioner.errors import NotFound, RenderFailed, StoreFailed
from provisioner.fleet.rollouts import Concerned
from provisioner.model import Mac
from provisioner.preview import Masked, Preview, difference
from provisioner.rehearsal import LayerChange, rehearsed

LOOKED: Final = 40
"""Phones whose files are made twice and compared."""

PreviewOf = Callable[[Mac], Awaitable[Preview]]


@dataclass(frozen=True, slots=True)
class FileDifference:
    """One file that would be another one."""

    name: str
    diff: str


@dataclass(frozen=True, slots=True)
class Looked:
    """One phone that was looked at."""

    mac: Mac
    model: str
    files: Sequence[FileDifference]
    fault: str = ""
    """Why its files could not be made."""

    @property
    def differs(self) -> bool:
        """Whether it would get anything else."""
        return bool(self.files or self.fault)


@dataclass(frozen=True, slots=True)
class ModelEffect:
    """Phones of one model."""

    vendor: str
    model: str
    phones: int
    looked: Sequence[Looked]

    @property
    def different(self) -> int:
        """How many of those that were looked at would get other files."""
        return sum(one.differs for one in self.looked)


@dataclass(frozen=True, slots=True)
class Effect:
    """All of it."""

    models: Sequence[ModelEffect]

    @property
    def phones(self) -> int:
        """For how many phones the layer is."""
        return sum(one.phones for one in self.models)

    @property
    def looked(self) -> Sequence[Looked]:
        """Every phone that was looked at, a first one of each model before any second."""
        longest = max((len(one.looked) for one in self.models), default=0)
        return [one.looked[turn] for turn in range(longest) for one in self.models if turn < len(one.looked)]

    @property
    def different(self) -> Sequence[Looked]:
        """Those that would get other files."""
        return [one for one in self.looked if one.differs]


async def effect_of(change: LayerChange, concerned: Sequence[Concerned], preview_of: PreviewOf) -> Effect:
    """Look at some phones of each model."""
    left, models = LOOKED, []
    for number, one in enumerate(concerned):
        few = one.sample[: max(1, left // max(1, len(concerned) - number))] if left > 0 else ()
        left -= len(few)
        looked = [await _look(change, mac, one.model, preview_of) for mac in few]
        models.append(ModelEffect(one.vendor, one.model, one.phones, looked))
    return Effect(models)


async def _look(change: LayerChange, mac: Mac, model: str, preview_of: PreviewOf) -> Looked:
    await asyncio.sleep(0)  # other people's requests go between
    try:
        return Looked(mac, model, _compared(change, await preview_of(mac)))
    except (RenderFailed, StoreFailed, NotFound) as error:
        return Looked(mac, model, (), error.cause)


def _compared(change: LayerChange, before: Preview) -> Sequence[FileDifference]:
    after = Preview(before.driver, rehearsed(before.config, change))
    masked, shown = Masked(), Masked(reveal=True)
    was = {file.name: file.text for file in before.render_all(shown)}
    now = {file.name: file.text for file in after.render_all(shown)}
    return [
        FileDifference(name, difference(name, was.get(name, ""), text, masked))
        for name, text in now.items()
        if text != was.get(name, "")
    ]
