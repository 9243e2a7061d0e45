"""The TLS secrets of one device: whether they are recorded, until when, and how many; never one of them."""

from __future__ import annotations

from provisioner.http.console.device import about
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.rights import Right

device_keys = Pages()


@device_keys.get("/devices/{mac}/tls-secrets", Right.TLS_SECRETS)
async def show_tls_secrets(call: Call) -> Answer:
    """What is recorded, and for how long."""
    values = await about(call)
    found = await call.desks.key_recording.key_recordings()
    mine = next((one for one in found if one.mac == call.mac), None)
    settings = call.means.settings
    values |= {
        "tab": "",
        "recording": mine,
        "open": mine is not None and mine.is_open(call.now),
        "other": next((one for one in found if one.mac != call.mac and one.is_open(call.now)), None),
        "minutes": f"{settings.recorder_key_minutes:g}",
        "hours": f"{settings.recorder_key_hours:g}",
    }
    return View("device_keys.html.j2", values)


@device_keys.post("/devices/{mac}/tls-secrets/open", Right.TLS_SECRETS, again=show_tls_secrets)
async def record_tls_secrets(call: Call) -> Answer:
    """For a while."""
    await call.desks.key_recording.open_key_recording(call.mac, call.form.number("minutes", 1, 1440))
    return See(f"/devices/{call.mac}/tls-secrets", "Recorded from now on; it ends by itself. Have the phone fetch now.")


@device_keys.post("/devices/{mac}/tls-secrets/close", Right.TLS_SECRETS, again=show_tls_secrets)
async def end_tls_secrets(call: Call) -> Answer:
    """Before its time."""
    await call.desks.key_recording.close_key_recording(call.mac)
    return See(f"/devices/{call.mac}/tls-secrets", "No more are recorded.")


@device_keys.post("/devices/{mac}/tls-secrets/delete", Right.TLS_SECRETS, again=show_tls_secrets)
async def delete_tls_secrets(call: Call) -> Answer:
    """All of them, at once."""
    await call.desks.key_recording.delete_key_recording(call.mac)
    return See(f"/devices/{call.mac}/tls-secrets", "They are deleted.")
