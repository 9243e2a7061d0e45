"""The first page: the fleet by state, how busy this node is, what went wrong lately, and what waits for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from provisioner.codes import CodeState
from provisioner.fleet.search import DeviceQuery
from provisioner.http import storm_page
from provisioner.http.console.pages import Answer, Call, Pages, View
from provisioner.model import DeviceState
from provisioner.outbox_states import MessageState
from provisioner.rights import Right
from provisioner.store.event_pages import EventFilter

overview = Pages()

_DAY: Final = 86_400.0
_MOST: Final = 99
"""What is counted one by one is counted no further."""
_GRAPHS: Final = ("Callers", "Goodput")


class Duty(NamedTuple):
    """Something that waits for a person."""

    number: int
    what: str
    path: str
    why: str

    @property
    def told(self) -> str:
        """How many, as far as was counted."""
        return f"{_MOST} or more" if self.number >= _MOST else str(self.number)


@overview.get("/", Right.DEVICE_READ)
async def show_overview(call: Call) -> Answer:
    """Everything at a glance."""
    return View("overview.html.j2", {**await _live(call), "alarms": await _alarms(call)})


@overview.get("/live/overview", Right.DEVICE_READ)
async def live_overview(call: Call) -> Answer:
    """The same by itself, for who keeps the page open."""
    return View("overview_live.html.j2", {**await _live(call), "alarms": await _alarms(call)})


async def _live(call: Call) -> dict[str, object]:
    groups = call.around.fleet.groups
    if not call.desks.principal.reach.everything:
        groups = await call.desks.fleet.census(call.now - _DAY)
    states: Counter[str] = Counter()
    vendors: Counter[str] = Counter()
    for one in groups:
        states[one.state.value] += one.devices
        vendors[one.vendor] += one.devices
    storm = call.around.watch.view() if call.may(Right.SERVER_READ) else None
    return {
        "states": {one.value: states[one.value] for one in DeviceState if states[one.value]},
        "vendors": vendors.most_common(),
        "total": states.total(),
        "active": sum(one.active for one in groups),
        "duties": [one async for one in _duties(call) if one.number],
        "storm": storm,
        "graphs": storm_page.sections(storm, call.around.watch.samples, 5, _GRAPHS) if storm else "",
    }


async def _duties(call: Call) -> AsyncIterator[Duty]:
    query = DeviceQuery(state=DeviceState.NEEDS_FIRMWARE)
    old = await call.desks.search.device_page(query, limit=_MOST)
    yield Duty(
        len(old.items), "phones need newer firmware", "/devices?state=needs_firmware", "They get an upgrade only."
    )
    if call.may(Right.SERVER_READ):
        seen = await call.at(Right.SERVER_READ).fleet.seen()
        yield Duty(
            min(len(seen), _MOST), "phones with a good certificate that nobody has added", "/devices/new",
            "They ask and get nothing until they are added.",
        )  # fmt: skip
    if call.may(Right.CODE_READ):
        locked = await call.at(Right.CODE_READ).search.code_page(state=CodeState.LOCKED, limit=_MOST)
        yield Duty(
            len(locked.items), "activation codes are locked", "/codes?state=locked",
            "They were keyed in too often on phones that they are not for: issue others.",
        )  # fmt: skip
    if call.may(Right.MAIL_READ):
        failed = await call.at(Right.MAIL_READ).outbox.messages(state=MessageState.DEAD)
        yield Duty(
            min(len(failed), _MOST),
            "mails were given up",
            "/events?kind=message_failed",
            "The mail server refused them.",
        )


async def _alarms(call: Call) -> list[object]:
    if not call.may(Right.EVENT_READ):
        return []
    search = call.at(Right.EVENT_READ).search
    page = await search.event_page(EventFilter(severity="alarm", since=call.now - 7 * _DAY), limit=8)
    return list(page.items)
