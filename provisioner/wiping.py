"""What a device is to forget: lines that had an extension, or all that this server has ever told it. Pure.

A file that merely lacks a parameter leaves the old value in some phones, so what is to be forgotten is emptied by name.
It stays so for as long as nobody is on the line: a phone that lost power over the file gets the same file again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from provisioner import neutral
from provisioner.model import ResolvedConfig, Scope, Sourced

EVERYTHING: Final = "*"
_KEPT: Final = frozenset({neutral.CUSTOM_CA.name})
"""Without it a phone could not come back to be told anything else."""


@dataclass(frozen=True, slots=True)
class Wipe:
    """How far it is."""

    lines: tuple[int, ...] = ()
    """Lines that had an extension and have none."""
    everything: bool = False
    """All settings go back to what the maker gave, and nothing else is served until somebody is on a line again."""
    since: float | None = None
    """When it was asked for last."""
    fetched: float | None = None
    """When the device got what empties them."""
    replaced_by: str = ""
    """The device that took its place."""

    @property
    def pending(self) -> bool:
        """Whether the device may still know what it is to forget."""
        return self.since is not None and self.fetched is None

    @property
    def holds(self) -> bool:
        """Whether settings that another device has taken over are still to be emptied here: nobody gets it before."""
        return self.everything and bool(self.replaced_by) and self.pending


def read(text: str) -> tuple[tuple[int, ...], bool]:
    """Lines, and whether everything is meant, as the column has it."""
    if text == EVERYTHING:
        return (), True
    return tuple(sorted(int(one) for one in text.split())), False


def written(lines: Iterable[int]) -> str:
    """Lines as the column has them."""
    return " ".join(str(one) for one in sorted(set(lines)))


def blank(config: ResolvedConfig) -> ResolvedConfig:
    """The same device with nothing that anybody has set."""
    values = {name: one for name, found in config.values.items() if (one := _left(name, found)) is not None}
    return replace(config, lines=(), values=MappingProxyType(values), raw=MappingProxyType({}), wiped=False, emptied=())


def _left(name: str, found: Sourced) -> Sourced | None:
    if name in _KEPT or found.scope is Scope.BUILT_IN:
        return found
    scope, value = found.overrode[-1] if found.overrode else (found.scope, None)
    return Sourced(value, scope) if scope is Scope.BUILT_IN else None
