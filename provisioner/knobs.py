"""What a setting is: a field of a dataclass with its unit, its reason and its bounds; and how its value is read."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def knob(default: Any, unit: str, why: str, low: float | None = None, high: float | None = None) -> Any:
    """A setting; bounds include their ends."""
    return field(default=default, metadata={"unit": unit, "why": why, "low": low, "high": high})


def convert(default: object, value: object) -> object:
    """A value from the file or the environment as its default's type; ValueError says what it must be."""
    if isinstance(default, bool):
        words = {"true": True, "1": True, "false": False, "0": False}
        value = words.get(value.lower(), value) if isinstance(value, str) else value
        if not isinstance(value, bool):
            raise ValueError("must be true or false")
        return value
    if isinstance(default, (int, float)):
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError("must be a number")
        try:
            return type(default)(value)
        except (ValueError, OverflowError):
            raise ValueError(f"must be a {'whole ' if isinstance(default, int) else ''}number") from None
    if isinstance(default, tuple):
        return _words(value)
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _words(value: object) -> tuple[str, ...]:
    """A list as the file has it, or one text with commas, which is all that an environment can hold."""
    if isinstance(value, (list, tuple)):
        return tuple(str(one) for one in value)
    if not isinstance(value, str) or any(sign in value for sign in "[]\"'"):
        raise ValueError(
            'a list is ["a", "b"] in provisioner.toml and a,b in the environment, without brackets or quotes'
        )
    return tuple(one.strip() for one in value.split(",") if one.strip())
