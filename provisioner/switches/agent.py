"""What is asked of a switch, whatever carries it: the shell speaks SNMP, tests speak with whatever they have. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from provisioner.errors import SwitchFailed
from provisioner.switches.oids import Oid, Row, Value


class Part(StrEnum):
    """What of a switch's credentials, or of the switch, is not as it should be."""

    ADDRESS = "address"
    SILENT = "silent"
    """No answer: with v2c the address or the community."""
    COMMUNITY = "community"
    USER = "user"
    AUTH = "auth"
    PRIVACY = "privacy"
    CONTEXT = "context"
    RIGHTS = "rights"
    """It is known who asks, and it is not for them."""
    READ_ONLY = "read-only"
    OBJECT = "object"
    """The switch does not have it, or takes no such value."""
    NONSENSE = "nonsense"


class AgentFailed(SwitchFailed):
    """A question to a switch that was not answered; ``part`` says what is wrong as far as can be told."""

    def __init__(self, part: Part, cause: str) -> None:
        super().__init__(cause)
        self.part = part


@dataclass(frozen=True, slots=True)
class Table:
    """What a walk has brought."""

    rows: Sequence[Row]
    whole: bool
    """False where it was ended before its end: there is more than was wanted."""


class Agent(Protocol):
    """One switch, as one credential sees it."""

    async def get(self, *oids: Oid) -> Mapping[Oid, Value]:
        """Values; what the switch does not have is left out."""

    async def walk(self, root: Oid, most: int = 4096, after: Oid = ()) -> Table:
        """Everything below ``root``, no more than ``most`` rows; ``after``: the last one that is known already."""

    async def set(self, oid: Oid, value: int | bytes) -> None:
        """Change one object."""

    def within(self, vlan: int) -> Agent:
        """The same switch as it shows one VLAN: Cisco keeps a table of addresses for each."""
