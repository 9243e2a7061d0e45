"""What phones can do: the profile listener, opened for a while, and a card of each phone that came."""

from __future__ import annotations

from contextlib import suppress

from provisioner.errors import Invalid
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.model import Mac
from provisioner.rights import Right

profiles = Pages()


@profiles.get("/profile", Right.PROFILE)
async def show_profiles(call: Call) -> Answer:
    """Whether it is open, and the cards, the one seen last first."""
    desk = call.desks.profiling
    window, wanted = await desk.profile_window(), call.asked("mac", 40)
    mac = None
    with suppress(Invalid):  # what is no Mac is an address
        mac = Mac.parse(wanted) if wanted else None
    found = await desk.capability_cards(mac=mac, address="" if mac else wanted)
    settings = call.means.settings
    values = {
        "window": window,
        "open": window.is_open(call.now),
        "there": settings.profile_port >= 0,
        "most": f"{settings.profile_minutes:g}",
        "rows": [(one, one.lines()) for one in found],
        "mac": wanted,
    }
    return View("profiles.html.j2", values)


@profiles.post("/profile/open", Right.PROFILE, again=show_profiles)
async def open_profiles(call: Call) -> Answer:
    """Let phones come for a while."""
    minutes = call.form.number("minutes", 1, int(call.means.settings.profile_minutes))
    await call.desks.profiling.open_profile(minutes, ask="digest" if call.form.flag("ask") else "")
    return See("/profile", "It opens within a second, and closes by itself.")


@profiles.post("/profile/close", Right.PROFILE, again=show_profiles)
async def close_profiles(call: Call) -> Answer:
    """Before its time."""
    await call.desks.profiling.close_profile()
    return See("/profile", "It is closed.")
