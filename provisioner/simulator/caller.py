"""A simulated person with a new phone: it boots, registers, is lifted, keys a code, and boots again as its owner's.

It knows only what its files and the server's answers say, and shares no code with the server that it calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from dataclasses import dataclass, field, replace
from typing import Final

from provisioner.errors import Invalid
from provisioner.simulator.boot import boot
from provisioner.simulator.caller_agent import Agent
from provisioner.simulator.caller_call import Call, Heard, Manner, Tell
from provisioner.simulator.caller_message import Garbled, Message
from provisioner.simulator.caller_story import CallStory, Told, named
from provisioner.simulator.caller_wire import Unreached, Wire, connect
from provisioner.simulator.credentials import Credentials
from provisioner.simulator.handshake import client_context
from provisioner.simulator.phone import Flash, Phone
from provisioner.simulator.report import BootReport, RegisteredLine, masked_url

_PORTS: Final = {"udp": 5060, "tcp": 5060, "tls": 5061}
_EXPIRES: Final = 600
"""s asked for: longer than any call with what follows it."""
_ALGORITHMS: Final = ("MD5", "SHA-256")
_PLACE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]{1,253}))(?::([0-9]{1,5}))?")
_DIAL: Final = re.compile(r"\bdial ([0-9*#]{1,32})")
"""What a label tells its reader to dial, on a phone that dials nothing by itself."""
_EVENTS: Final = ("check-sync", "resync")
"""Those on which phones fetch again; the second is Cisco's."""


@dataclass(slots=True)
class _Diary:
    """What has happened so far, and who wants to hear of it at once."""

    tell: Tell
    began: float = field(default_factory=time.monotonic)
    steps: list[Told] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.steps.append(Told(time.monotonic() - self.began, text))
        self.tell(text)


@dataclass(slots=True)
class _Sync:
    """Whether the server has told the phone to fetch again."""

    event: str = ""
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    async def within(self, seconds: float) -> None:
        """A server lets the phone hang up first, and tells it a little later."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.settled.wait(), seconds)


async def call_in(phone: Phone, url: str, manner: Manner, tell: Tell = lambda _: None) -> CallStory:
    """The whole story; whatever servers do ends in its ``reason``. Invalid and Unusable are the caller's mistakes."""
    place_of(manner.server or "localhost", "udp")
    diary, flash = _Diary(tell), Flash()
    first = await boot(phone, url, flash)
    story = CallStory(phone.persona.vendor, phone.persona.model, phone.mac, masked_url(url), first=first)
    line = next((one for one in first.lines if _number(one, manner)), None)
    if line is None:
        return replace(story, steps=tuple(diary.steps), reason=_nothing_to_call(first))
    diary.note(f"boots: {named(line)}{f', dials {line.hotline} when picked up' if line.hotline else ''}")
    story = await _visit(phone, flash, line, manner, diary, story)
    if story.codec:
        diary.note("boots again" if story.check_sync else "boots again by itself, nobody told it to")
        second = await boot(phone, url, flash)
        story = replace(story, second=second, reason=_still_nobodys(line, second, story))
        if story.good:
            diary.note(f"registers {'; '.join(map(named, second.lines))}")
    return replace(story, steps=tuple(diary.steps))


def _number(line: RegisteredLine, manner: Manner) -> str:
    """What is called from this line: what it dials by itself, else what its user was told, else what its label says."""
    read = _DIAL.search(f"{line.label} {line.display_name}")
    return line.hotline or manner.dial or (read[1] if read else "")


def _nothing_to_call(report: BootReport) -> str:
    if report.refused_because:
        return f"the server refused the phone its files: {report.refused_because}"
    if not report.lines:
        return f"the phone has no line to call from: {report.no_line_because}"
    users = ", ".join(one.user for one in report.lines)
    return f"nothing is dialled when the handset is lifted: the phone is {users} already (--dial says what to dial)"


def _still_nobodys(line: RegisteredLine, second: BootReport, story: CallStory) -> str:
    if second.refused_because:
        return f"the server refused the phone its files after the call: {second.refused_because}"
    if not second.lines:
        return f"after the call the phone has no line: {second.no_line_because}"
    if any(one.user == line.user for one in second.lines):
        why = f"the call was cut: {story.reason}" if story.reason else "the code was not accepted"
        return f"after the call the phone still registers as {line.user}: {why}"
    return ""


# --- registration and call ------------------------------------------------------------------------------


async def _visit(
    phone: Phone, flash: Flash, line: RegisteredLine, manner: Manner, diary: _Diary, story: CallStory
) -> CallStory:
    """Register, call, and wait to be told to fetch again."""
    agent = Agent(
        line.user,
        Credentials(line.auth_user, line.secret, _ALGORITHMS),
        phone.persona.user_agent(phone.mac, firmware=phone.firmware),
    )
    sync = _Sync()
    agent.handlers["NOTIFY"] = lambda asked: _notified(agent, asked, sync, diary)
    try:
        agent.wire = await _reach(phone, flash, line, manner, agent, sync)
        await _register(agent, line)
        diary.note(f"registered as {line.user}")
        story = replace(story, registered_as=line.user, server=line.server)
        number = _number(line, manner)
        diary.note(f"{'lifts the handset' if line.hotline else 'somebody dials'}: calls {number}")
        host = _host(line.server)
        heard = await Call(agent, manner, diary.note).run(
            agent.dialog(f"sip:{number}@{line.server}", f"sip:{number}@{host}", host)
        )
        story = _with(replace(story, dialled=number), heard)
        if heard.answered:
            await sync.within(manner.wait)
    except (Unreached, Garbled) as error:
        story = replace(story, reason=error.cause)
    finally:
        if agent.wire is not None:
            agent.wire.close()
    return replace(story, check_sync=sync.event)


def _with(story: CallStory, heard: Heard) -> CallStory:
    return replace(
        story,
        codec=heard.codec,
        heard=heard.seconds,
        spoken=heard.spoken,
        keys=heard.keys,
        by=heard.by,
        ended_by=heard.ended_by,
        reason=heard.wrong,
        wav=heard.wav,
    )


async def _reach(phone: Phone, flash: Flash, line: RegisteredLine, manner: Manner, agent: Agent, sync: _Sync) -> Wire:
    transport = line.transport if line.transport in _PORTS else "udp"
    try:
        host, port = place_of(manner.server or line.server, transport)
    except Invalid:
        raise Unreached(f"its line names the server {line.server[:60]!r}, which is no host") from None

    def lost(why: str) -> None:
        agent.lost(why)
        sync.settled.set()  # nothing can come any more

    context = client_context(phone, flash) if transport == "tls" else None
    return await connect(transport, host, port, context, agent.heard, lost)


async def _register(agent: Agent, line: RegisteredLine) -> None:
    host = _host(line.server)
    dialog = agent.dialog(f"sip:{line.server}", f"sip:{line.user}@{host}", host)
    answer = await agent.ask(dialog, "REGISTER", {"expires": str(_EXPIRES)})
    if answer.status in (401, 403, 407):
        raise Unreached(
            f"{line.server} does not let it register as {line.user}: {answer.told}, the secret is not right"
        )
    if answer.status >= 300:
        raise Unreached(f"{line.server} does not let it register as {line.user}: {answer.told}")


def _notified(agent: Agent, asked: Message, sync: _Sync, diary: _Diary) -> Message:
    event = asked.one("event")
    if event.partition(";")[0].strip().lower() not in _EVENTS:
        return agent.answer(asked, "489 Bad Event")
    diary.note(f"NOTIFY {event} comes")
    sync.event = sync.event or event
    sync.settled.set()
    return agent.answer(asked, "200 OK")


def _host(server: str) -> str:
    """Of a line's server, with its brackets, without its port."""
    found = _PLACE.fullmatch(server)
    if found is None:
        raise Unreached(f"its line names the server {server[:60]!r}, which is no host")
    return f"[{found[1]}]" if found[1] else found[2]


def place_of(server: str, transport: str) -> tuple[str, int]:
    """Host and port of ``host``, ``host:port`` or ``[address]:port``; Invalid when it is none of them."""
    found = _PLACE.fullmatch(server)
    port = int(found[3] or _PORTS[transport]) if found else 0
    if found is None or not 0 < port < 65_536:
        raise Invalid("sip", "must be host or host:port")
    return found[1] or found[2], port
