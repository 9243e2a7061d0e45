"""What can be done about one device: bind, unbind, tell it to fetch, revoke, let it in without a certificate, pin."""

from __future__ import annotations

from provisioner.errors import Invalid
from provisioner.http.console.device import about, show_device
from provisioner.http.console.look import sentence
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.model import ListenerKind
from provisioner.rights import Right

acts = Pages()


def _line(call: Call) -> int:
    text = call.form.text("line")
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:4]) <= 999):
        raise Invalid("line", "must be a number from 1 on")
    return int(text)


def _back(call: Call, said: str) -> See:
    return See(f"/devices/{call.mac}", said)


def _told(campaign: str) -> str:
    """A phone that was never here cannot be told, and need not be: it asks when it is plugged in."""
    return "The phone is told to fetch." if campaign else "The phone gets it when it comes."


@acts.post("/devices/{mac}/bind", Right.DEVICE_BIND, again=show_device)
async def bind(call: Call) -> Answer:
    """An extension, or the one of a person, on a line; the phone is told to fetch by itself."""
    form, wanted = call.form, call.form.text("extension")
    if not wanted:
        raise Invalid("extension", "say a number, or the name or mail address of a user")
    is_number = wanted[0] in "0123456789*#+"
    made = await call.desks.lines.rebind(
        call.mac,
        _line(call),
        extension=wanted if is_number else "",
        user="" if is_number else wanted,
        label=form.text("label"),
        replace=form.flag("replace"),
    )
    freed = f" {len(made.freed)} made way." if made.freed else ""
    rotated = f" {sentence(made.exchanged.told)}" if made.exchanged else ""
    said = f"{made.binding.number} is on line {made.binding.line} now.{freed}{rotated} {_told(made.campaign)}"
    return _back(call, said)


@acts.post("/devices/{mac}/unbind", Right.DEVICE_BIND, again=show_device)
async def unbind(call: Call) -> Answer:
    """Free a line; the phone fetches what empties it."""
    made = await call.desks.lines.release(call.mac, _line(call))
    return _back(call, f"{made.binding.number} is off line {made.binding.line}. {_told(made.campaign)}")


@acts.post("/devices/{mac}/resync", Right.RESYNC, again=show_device)
async def resync(call: Call) -> Answer:
    """Have it fetch its files again."""
    name = await call.desks.lines.tell([call.mac])
    return _back(call, _told(name))


@acts.post("/devices/{mac}/revoke", Right.DEVICE_ACCESS, again=show_device)
async def revoke(call: Call) -> Answer:
    """Serve it nothing any more."""
    await call.desks.fleet.revoke_device(call.mac)
    return _back(call, "It is served nothing any more. Its lines stay for the day it is restored.")


@acts.post("/devices/{mac}/restore", Right.DEVICE_ACCESS, again=show_device)
async def restore(call: Call) -> Answer:
    """Take a revocation back."""
    await call.desks.fleet.restore_device(call.mac)
    return _back(call, "It is served again.")


@acts.post("/devices/{mac}/access", Right.DEVICE_ACCESS, again=show_device)
async def access(call: Call) -> Answer:
    """What it may use instead of a good certificate."""
    form = call.form
    await call.desks.fleet.allow(
        call.mac, token=form.flag("token"), digest=form.flag("digest"), expired=form.flag("expired")
    )
    return _back(call, "What it may prove itself with is changed.")


@acts.post("/devices/{mac}/token", Right.DEVICE_ACCESS, again=show_device)
async def open_token(call: Call) -> Answer:
    """A URL that opens its files for a while, told once."""
    settings = call.means.settings
    _, path = await call.desks.fleet.open_token(call.mac, window=settings.token_window, fetches=settings.token_fetches)
    url = call.means.base_urls()[ListenerKind.DEVICE] + path.lstrip("/")
    values = {"url": url, "window": settings.token_window, "fetches": settings.token_fetches}
    return View("device_token.html.j2", {**await about(call), **values})


@acts.post("/devices/{mac}/tokens/close", Right.DEVICE_ACCESS, again=show_device)
async def close_tokens(call: Call) -> Answer:
    """Close all token URLs."""
    count = await call.desks.fleet.revoke_tokens(call.mac)
    return _back(call, f"{count} token URL{' is' if count == 1 else 's are'} closed.")


@acts.post("/devices/{mac}/pin/accept", Right.DEVICE_ACCESS, again=show_device)
async def accept_pin(call: Call) -> Answer:
    """Pin the other key that came."""
    found = await call.desks.fleet.accept_pin(call.mac, key=call.form.text("key"))
    return _back(call, f"The key {found.pinned[:16]}… is pinned now.")


@acts.post("/devices/{mac}/pin/forget", Right.DEVICE_ACCESS, again=show_device)
async def forget_pin(call: Call) -> Answer:
    """Whoever comes next with this MAC and a good certificate is pinned."""
    await call.desks.fleet.forget_pin(call.mac)
    return _back(call, "No key is pinned: the next good certificate of this MAC is.")


@acts.get("/devices/{mac}/remove", Right.DEVICE_WRITE)
async def ask_remove(call: Call) -> Answer:
    """What would go with it."""
    return View("device_remove.html.j2", await about(call))


@acts.post("/devices/{mac}/remove", Right.DEVICE_WRITE, again=ask_remove)
async def remove(call: Call) -> Answer:
    """Forget it with all that belongs to it."""
    await call.desks.fleet.remove_device(call.mac)
    return See("/devices", f"{call.mac.colons} is removed.")
