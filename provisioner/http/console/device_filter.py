"""What a list of devices is asked by: the same for the page, for the table that is saved, for what is done to all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from provisioner.fleet.device_search import DeviceQuery
from provisioner.http.console.pages import Call
from provisioner.model import DeviceState
from provisioner.store.device_pages import Order

FILTERS: Final = ("q", "account", "site", "vendor", "model", "state", "sort", "seen_at")
_LONGEST: Final = 80


def asked_of(call: Call) -> dict[str, str]:
    """What stands behind the question mark."""
    return {name: call.asked(name, _LONGEST) for name in FILTERS}


def sent_of(call: Call) -> dict[str, str]:
    """The same as a form has kept it."""
    return {name: call.form.text(name)[:_LONGEST] for name in FILTERS}


def wanted_by(asked: Mapping[str, str]) -> dict[str, str]:
    """Without what is empty."""
    return {name: value for name, value in asked.items() if value}


def query_of(asked: Mapping[str, str]) -> DeviceQuery:
    """The same as the use-case takes it; words that mean nothing are as if they were not there."""
    state = DeviceState(asked["state"]) if asked["state"] in set(DeviceState) else None
    sort = Order(asked["sort"]) if asked["sort"] in set(Order) else None
    place = (asked["account"], asked["site"], asked["vendor"], asked["model"])
    return DeviceQuery(*place, state, asked["q"], sort, asked.get("seen_at", ""))
