"""Token URLs of devices without a usable certificate, and what devices have sent."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import Given, Id, Moment, Told
from provisioner.model import ListenerKind
from provisioner.rights import Right

tokens = Routes("tokens", "URLs that open a device's files for a while, for devices without a usable certificate.")
uploads = Routes("uploads", "What devices have sent: logs, overrides, directories.")


class Token(Told):
    """A token URL, without what opens it."""

    id: Id
    mac: str
    opened: Moment
    expires: Moment
    budget: Annotated[int, Field(description="Files that it opens")]
    spent: int
    revoked: bool


class Tokens(Told):
    """Tokens of a device."""

    items: list[Token]


class NewToken(Given):
    """How far a token goes."""

    window: Annotated[float | None, Field(ge=60, le=2_592_000, description="s; null: the setting token.window")] = None
    fetches: Annotated[int | None, Field(ge=1, le=10_000, description="null: the setting token.fetches")] = None


class TokenUrl(Told):
    """A token URL, told once."""

    mac: str
    url: str


class TokensClosed(Told):
    """How many were closed."""

    closed: int


class Upload(Told):
    """A file that a device has sent."""

    name: str
    kind: str
    size: int
    at: Moment
    digest: str
    owner: Annotated[str, Field(description="The user whose phone it was; empty for nobody's")]
    served: Annotated[bool, Field(description="The device gets it when it asks")]


class Uploads(Told):
    """What a device has sent."""

    items: list[Upload]


@tokens.get("/devices/{mac}/tokens", Right.DEVICE_READ, Tokens)
async def list_tokens(call: AnyCall) -> Tokens:
    """A device's tokens, without their secret part."""
    return Tokens(items=[Token.model_validate(one) for one in await call.desks.fleet.tokens(call.mac)])


@tokens.post("/devices/{mac}/tokens", Right.DEVICE_ACCESS, body=NewToken, told=TokenUrl, status=201, secret=True)
async def open_token(call: AnyCall) -> TokenUrl:
    """Open a token URL for a device and tell it once."""
    given: NewToken = call.body
    settings = call.means.settings
    window, fetches = given.window or settings.token_window, given.fetches or settings.token_fetches
    _, path = await call.desks.fleet.open_token(call.mac, window=window, fetches=fetches)
    return TokenUrl(mac=call.mac, url=call.means.base_urls()[ListenerKind.DEVICE] + path.lstrip("/"))


@tokens.delete("/devices/{mac}/tokens", Right.DEVICE_ACCESS, told=TokensClosed, version=list_tokens, tags=False)
async def revoke_tokens(call: AnyCall) -> TokensClosed:
    """Close all token URLs of a device."""
    return TokensClosed(closed=await call.desks.fleet.revoke_tokens(call.mac))


@uploads.get("/devices/{mac}/uploads", Right.UPLOAD_READ, Uploads)
async def list_uploads(call: AnyCall) -> Uploads:
    """What a device has sent, for its user of today and for earlier ones."""
    return Uploads(items=[Upload.model_validate(one) for one in await call.desks.fleet.uploads(call.mac)])


@uploads.get("/devices/{mac}/uploads/{digest}", Right.UPLOAD_READ, None, media="application/octet-stream")
async def show_upload(call: AnyCall) -> object:
    """A file that a device has sent, as it came, by the SHA-256 of its content."""
    found, body = await call.desks.fleet.upload(call.mac, call.path["digest"])
    return attached(body, found.name)


def attached(body: bytes, name: str) -> web.Response:
    """Whatever a device has sent is a file to save: no browser takes it for a page, a script or a picture."""
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in name)
    return web.Response(
        body=body,
        headers={
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f'attachment; filename="{kept[:120] or "upload"}"',
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )
