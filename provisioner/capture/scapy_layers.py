# SPDX-License-Identifier: GPL-2.0-only
"""The one place that loads scapy, and only the layers where it reads better than a few lines of our own would."""

from __future__ import annotations

import importlib
import logging
import sys
from functools import cache
from types import ModuleType
from typing import Any, Final

MISSING: Final = "scapy is not installed; `pip install 'provisioner[capture]'` brings it"


class NoScapy(Exception):
    """The extra is not installed."""


@cache
def layer(name: str) -> ModuleType:
    """A module of scapy by its name below ``scapy.``."""
    _prepare()
    try:
        return importlib.import_module(f"scapy.{name}")
    except ImportError as error:
        raise NoScapy(MISSING) from error


@cache
def _prepare() -> None:
    """Scapy would load cryptography where it is installed; this program may not, so it is told that it is not there."""
    sys.modules.setdefault("cryptography", None)  # type: ignore[arg-type]  # None makes the import fail: PEP 328
    logging.getLogger("scapy").setLevel(logging.CRITICAL)


def fields_of(packet: Any) -> list[tuple[str, str, str]]:
    """Every layer's fields as (layer, name, value), for people."""
    found: list[tuple[str, str, str]] = []
    for one in layers_of(packet):
        for described in one.fields_desc:
            value = one.getfieldval(described.name)
            if value not in (None, b"", []):
                found.append((one.name, described.name, str(described.i2repr(one, value))))
    return found


def layers_of(packet: Any) -> list[Any]:
    """A packet's layers, the outermost first."""
    found: list[Any] = []
    while packet is not None and packet.name != "NoPayload" and len(found) < 32:
        found.append(packet)
        packet = packet.payload
    return found
