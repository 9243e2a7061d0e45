"""The TLS secrets of one device: recorded for a while, taken out to read frames with, deleted."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from provisioner.fleet.key_recording import LONGEST
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import Fields, Given, Moment, Told, moment
from provisioner.model import Mac
from provisioner.rights import Right
from provisioner.store.key_recordings import Recording

key_recordings = Routes(
    "key-recording",
    "The TLS secrets of one device's connections, recorded for a while: whoever has them and the frames reads what was "
    "said. They are sealed where they lie, taking them out is an event, and they delete themselves.",
)


class KeyRecording(Told):
    """Of one device."""

    mac: str
    open: Annotated[bool, Field(description="There are more to come")]
    opened_at: Moment
    until: Moment
    deleted_at: Annotated[Moment, Field(description="When they are deleted, if nobody does it before")]
    actor: Annotated[str, Field(description="Who opened it")]
    connections: Annotated[int, Field(description="Whose secrets there are")]


class KeyRecordings(Told):
    """Those of which something is left, the newest first."""

    items: list[KeyRecording]


class KeyRecordingsAsked(Fields):
    """Whose."""

    mac: Annotated[str, Field(default="", max_length=40, description="Only this one's")]


class KeyRecordingOpening(Given):
    """Whose, and for how long."""

    mac: Annotated[str, Field(min_length=12, max_length=40)]
    minutes: Annotated[
        float | None, Field(gt=0, le=LONGEST, description="As `recorder.key_minutes` says, when left out")
    ] = None


class KeyRecordingNamed(Given):
    """Whose."""

    mac: Annotated[str, Field(min_length=12, max_length=40)]


class KeyRecordingClosed(Told):
    """What has come of it."""

    closed: Annotated[bool, Field(description="It was open until now")]


class KeyRecordingDeleted(Told):
    """What is gone."""

    connections: int


class TlsSecrets(Told):
    """Lines of a key log, as Wireshark reads them."""

    mac: str
    lines: list[str]


def _told(one: Recording, now: float) -> KeyRecording:
    return KeyRecording(
        mac=one.mac,
        open=one.is_open(now),
        opened_at=moment(one.opened_at),
        until=moment(one.until),
        deleted_at=moment(one.gone_at),
        actor=one.actor,
        connections=one.connections,
    )


@key_recordings.get("/key-recordings", Right.TLS_SECRETS, KeyRecordings, query=KeyRecordingsAsked)
async def list_key_recordings(call: AnyCall) -> KeyRecordings:
    """Whose TLS secrets are recorded, or were until lately."""
    query: KeyRecordingsAsked = call.query
    found = await call.desks.key_recording.key_recordings(Mac.parse(query.mac) if query.mac else None)
    return KeyRecordings(items=[_told(one, call.means.clock()) for one in found])


@key_recordings.post("/key-recordings/open", Right.TLS_SECRETS, body=KeyRecordingOpening, told=KeyRecording)
async def open_key_recording(call: AnyCall) -> KeyRecording:
    """Record the secrets of one device for so long; connections that begin a second later are among them."""
    given: KeyRecordingOpening = call.body
    made = await call.desks.key_recording.open_key_recording(Mac.parse(given.mac), given.minutes)
    return _told(made, call.means.clock())


@key_recordings.post("/key-recordings/close", Right.TLS_SECRETS, body=KeyRecordingNamed, told=KeyRecordingClosed)
async def close_key_recording(call: AnyCall) -> KeyRecordingClosed:
    """End it before its time; what was recorded is kept for a while."""
    given: KeyRecordingNamed = call.body
    return KeyRecordingClosed(closed=await call.desks.key_recording.close_key_recording(Mac.parse(given.mac)))


@key_recordings.post("/key-recordings/delete", Right.TLS_SECRETS, body=KeyRecordingNamed, told=KeyRecordingDeleted)
async def delete_key_recording(call: AnyCall) -> KeyRecordingDeleted:
    """End it and delete what was recorded, at once."""
    given: KeyRecordingNamed = call.body
    count = await call.desks.key_recording.delete_key_recording(Mac.parse(given.mac))
    return KeyRecordingDeleted(connections=count)


@key_recordings.post("/key-recordings/take", Right.TLS_SECRETS, body=KeyRecordingNamed, told=TlsSecrets, secret=True)
async def take_tls_secrets(call: AnyCall) -> TlsSecrets:
    """Take the secrets out; that they were taken is an event, written before they are told."""
    given: KeyRecordingNamed = call.body
    mac = Mac.parse(given.mac)
    return TlsSecrets(mac=mac, lines=await call.desks.key_recording.take_tls_secrets(mac))
