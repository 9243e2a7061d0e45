"""What a setting is: a field of a dataclass that carries its unit, its reason and its bounds."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def knob(default: Any, unit: str, why: str, low: float | None = None, high: float | None = None) -> Any:
    """A setting; bounds include their ends."""
    return field(default=default, metadata={"unit": unit, "why": why, "low": low, "high": high})
