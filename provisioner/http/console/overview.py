"""The first page: the fleet by state, how busy this node is, what went wrong lately, and what waits for a person."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from provisioner import trust
from provisioner.codes import CodeState
from provisioner.errors import Unusable
from provisioner.fleet.device_search import WIPING, DeviceQuery
from provisioner.http import storm_page
from provisioner.http.console.diagnosis import troubles
from provisioner.http.console.pages import Answer, Call, Pages, View
from provisioner.model import DeviceState
from provisioner.outbox_states import MessageState
from provisioner.rights import Right
from provisioner.rollout_states import RolloutState
from provisioner.store.event_pages import EventFilter

overview = Pages()

_DAY: Final = 86_400.0
_HOUR: Final = 3600.0
_MOST: Final = 99
"""What is counted one by one is counted no further."""
_GRAPHS: Final = ("Callers", "Goodput")


class Duty(NamedTuple):
    """Something that waits for a person."""

    number: int
    words: tuple[str, str]
    """What, of one and of several."""
    path: str
    why: str

    @property
    def what(self) -> str:
        """In the right number."""
        return self.words[self.number != 1]

    @property
    def told(self) -> str:
        """How many, as far as was counted."""
        return f"{_MOST} or more" if self.number >= _MOST else str(self.number)


@overview.get("/", Right.DEVICE_READ)
async def show_overview(call: Call) -> Answer:
    """Everything at a glance."""
    about = {"alarms": await _alarms(call), "troubles": await troubles(call)}
    return View("overview.html.j2", {**await _live(call), **about})


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
    """Each is asked for by whoever may do something about it."""
    for ask in (_of_devices, _of_codes, _of_server, _of_others, _of_rollouts):
        async for one in ask(call):
            yield one


async def _of_devices(call: Call) -> AsyncIterator[Duty]:
    search = call.desks.search
    old = await search.device_page(DeviceQuery(state=DeviceState.NEEDS_FIRMWARE), limit=_MOST)
    yield Duty(
        len(old.items),
        ("phone needs newer firmware", "phones need newer firmware"),
        "/devices?state=needs_firmware",
        "They get an upgrade only.",
    )
    waiting = await search.device_page(DeviceQuery(text=WIPING), limit=_MOST)
    yield Duty(
        len(waiting.items),
        ("phone has not fetched yet what makes it forget", "phones have not fetched yet what makes them forget"),
        f"/devices?q={WIPING}",
        "They may still know the password of a line that they have lost: have them fetch, or plug them in.",
    )
    if call.may(Right.EVENT_READ):
        refused = EventFilter(kind="not_identified", since=call.now - _DAY)
        page = await call.at(Right.EVENT_READ).search.event_page(refused, limit=_MOST)
        yield Duty(
            len(page.items),
            ("certificate was refused within a day", "certificates were refused within a day"),
            "/events?kind=not_identified",
            "Each event says which, and why.",
        )


async def _of_codes(call: Call) -> AsyncIterator[Duty]:
    if not call.may(Right.CODE_READ):
        return
    locked = await call.at(Right.CODE_READ).search.code_page(state=CodeState.LOCKED, limit=_MOST)
    yield Duty(
        len(locked.items),
        ("activation code is locked", "activation codes are locked"),
        "/codes?state=locked",
        "They were keyed in too often on phones that they are not for: issue others.",
    )


async def _of_server(call: Call) -> AsyncIterator[Duty]:
    if not call.may(Right.SERVER_READ):
        return
    seen = await call.at(Right.SERVER_READ).fleet.seen(limit=_MOST, placed=False)
    yield Duty(
        len(seen),
        ("phone with a good certificate that nobody has added", "phones with a good certificate that nobody has added"),
        "/devices/new",
        "They ask and get nothing until they are added.",
    )
    settings = call.means.settings
    ending = await asyncio.to_thread(_ending, settings.data, settings.tls_certificates, int(call.now // _HOUR))
    yield Duty(
        ending,
        ("certificate ends within 90 days", "certificates end within 90 days"),
        "/certificates",
        "Of this server, and of factory CAs.",
    )


@lru_cache(maxsize=1)
def _ending(data: Path, own: tuple[str, ...], hour: int) -> int:
    """Read anew each hour; what is wrong with the files the page of certificates tells."""
    try:
        found = trust.load(data).check(hour * _HOUR, [data / name for name in own])
    except Unusable:
        return 0
    return sum(one.days >= 0 or one.kind == "server" for one in found)


async def _of_others(call: Call) -> AsyncIterator[Duty]:
    if call.may(Right.MAIL_READ):
        failed = await call.at(Right.MAIL_READ).outbox.messages(state=MessageState.DEAD)
        yield Duty(
            min(len(failed), _MOST),
            ("mail was given up", "mails were given up"),
            "/events?kind=message_failed",
            "The mail server refused them.",
        )
    if call.may(Right.HOOK_READ):
        hooks = await call.at(Right.HOOK_READ).hooks.hooks()
        bad = [one for one in hooks if one.about.failing_since or one.about.disabled_why or one.dead]
        yield Duty(
            len(bad), ("webhook fails", "webhooks fail"), "/webhooks", "What they are told waits, or was given up."
        )


async def _of_rollouts(call: Call) -> AsyncIterator[Duty]:
    if not call.may(Right.LAYER_READ):
        return
    found = await call.at(Right.LAYER_READ).layers.rollouts(under_way=True)
    halted = [one for one in found if one.state is RolloutState.HALTED]
    yield Duty(
        len(halted),
        ("change of settings was halted on its way", "changes of settings were halted on their way"),
        "/layers",
        "Phones did not come back: go on with them, or take them back.",
    )


async def _alarms(call: Call) -> list[object]:
    if not call.may(Right.EVENT_READ):
        return []
    search = call.at(Right.EVENT_READ).search
    page = await search.event_page(EventFilter(severity="alarm", since=call.now - 7 * _DAY), limit=8)
    return list(page.items)
