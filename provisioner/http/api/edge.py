"""The way of a call: who asks, how often, by which right, what exactly, of which version, and has it been done before.

Whatever a call asks first, changes and answers is one transaction, the kept answer under its Idempotency-Key included:
a caller who never heard the answer asks again and gets the same one, and nothing is done twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

from provisioner.errors import Malformed, NotFound, NotSignedIn, ProvisionerError
from provisioner.http.api.desks import Desks, Means
from provisioner.http.api.documents import check_fields, read_body, read_query, read_raw, sparse, written
from provisioner.http.api.etags import etag_of, is_known, require_match
from provisioner.http.api.problems import refused
from provisioner.http.api.rates import Rates
from provisioner.http.api.routes import ROOT, AnyCall, Call, Route, placed
from provisioner.http.api.words import Told
from provisioner.rights import Principal
from provisioner.store.joined import joined
from provisioner.store.repeats import Asked, Kept, find_repeat, keep_answer

log: Final = logging.getLogger("provisioner.server")

_KEY: Final = re.compile(r"[!-~]{1,255}")
_JSON: Final = "application/json"
_NEVER: Final = "no-store"
_FRESH: Final = "private, no-cache"
"""May be kept, and must be asked for again: that is what the ETag is for."""


@dataclass(frozen=True)
class ApiEdge:
    """Answers the calls of all routes."""

    means: Means
    rates: Rates
    strangers: Rates
    """Calls that bring no good proof, by address."""

    async def answer(self, route: Route, request: web.Request) -> web.StreamResponse:
        """One call, whatever happens."""
        told: dict[str, str] = {}
        try:
            return await self._answer(route, request, told)
        except ProvisionerError as error:
            if error.status >= 500:
                log.error("%s %s: %s", route.method, route.path, error.cause)
            return refused(error, told)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:  # one call's end: its fault ends no other call and tells nobody outside what it was
            log.exception("%s %s failed because of a fault in the program", route.method, route.path)
            return refused(ProvisionerError("a fault of the program"), told)

    async def _answer(self, route: Route, request: web.Request, told: dict[str, str]) -> web.StreamResponse:
        principal = await self._known(request)
        caller = principal.throttle or principal.credential or principal.actor
        try:
            self.rates.admit(caller)
        finally:
            told.update(self.rates.headers(caller))
        doing = principal.doing(route.right)
        path = placed(request.match_info)
        query = read_query(request, route.query)
        check_fields(route.told, getattr(query, "fields", ""), page=route.lists)
        raw, body = await self._body(route, request)
        desks = Desks(self.means, self.means.store, doing)
        call: AnyCall = Call(request, principal, desks, path, query, body)
        kept = await (self._changed(route, call, raw) if route.changes else self._read(route, call))
        if isinstance(kept, web.StreamResponse):
            return kept
        return web.Response(status=kept.status, body=kept.body, headers=[*kept.headers, *told.items()])

    async def _body(self, route: Route, request: web.Request) -> tuple[bytes, Any]:
        """As it came, and as the route takes it."""
        if route.takes:
            raw = await read_raw(request, route.takes, route.most or self.means.settings.api_body)
            return raw, raw
        return await read_body(request, route.body, self.means.settings.api_body)

    async def _known(self, request: web.Request) -> Principal:
        try:
            return await self.means.gatekeeper.principal(request)
        except NotSignedIn:
            self.strangers.admit(request.remote or "")
            raise

    async def _read(self, route: Route, call: AnyCall) -> Kept | web.StreamResponse:
        value = await route.handler(call)
        if isinstance(value, web.StreamResponse):
            return value
        return _told(route, call, value)

    async def _changed(self, route: Route, call: AnyCall, raw: bytes) -> Kept:
        asked = _asked(call, raw)
        if route.prepare is not None or not route.whole:
            async with self.means.store.reading() as connection:
                before = asked and await find_repeat(connection, self.means.store.box, asked, self.means.clock())
            if before:
                return _replayed(before)
        if not route.whole:
            return await self._alone(route, call, asked)
        if route.prepare is not None:
            call = replace(call, ready=await route.prepare(call))
        async with joined(self.means.store) as store:
            now = self.means.clock()
            if asked and (before := await find_repeat(store.connection, store.box, asked, now)) is not None:
                return _replayed(before)
            inside = replace(call, desks=Desks(self.means, store, call.desks.principal))
            await _require_version(route, inside)
            kept = _told(route, inside, await route.handler(inside))
            if asked:
                await keep_answer(store.connection, store.box, asked, kept, now)
        return kept

    async def _alone(self, route: Route, call: AnyCall, asked: Asked | None) -> Kept:
        await _require_version(route, call)
        kept = _told(route, call, await route.handler(call))
        if asked:
            async with joined(self.means.store) as store:
                await keep_answer(store.connection, store.box, asked, kept, self.means.clock())
        return kept


def _replayed(before: Kept) -> Kept:
    return replace(before, headers=(*before.headers, ("Idempotent-Replayed", "true")))


def _asked(call: AnyCall, raw: bytes) -> Asked | None:
    """What an idempotency key stands for; None without one."""
    request = call.request
    keys = request.headers.getall("Idempotency-Key", [])
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise Malformed("Idempotency-Key must be one word of 1 to 255 visible ASCII characters")
    said = "\n".join([request.method, request.path_qs, request.headers.get("If-Match", ""), ""])
    whole = hashlib.sha256(said.encode() + raw).hexdigest()
    return Asked(_whose(call.principal), hashlib.sha256(keys[0].encode()).hexdigest(), whole)


def _whose(principal: Principal) -> str:
    """Who gets an answer again: a key of the API only its own, as another of the same person may reach less."""
    return principal.credential if principal.is_key else principal.ident or principal.actor


async def _require_version(route: Route, call: AnyCall) -> None:
    """Compare what is there with what the caller has seen, in the transaction that changes it."""
    headers = call.request.headers
    asks = "If-Match" in headers or "If-None-Match" in headers
    if route.version is None or not (route.must_match or asks):
        return
    try:
        current: str | None = etag_of(written(await route.version(call)))
    except NotFound:
        current = None
    if current is None and "If-Match" not in headers:
        return  # what is not there is made, or not found by the handler
    require_match(call.request, current, must=route.must_match)


def _told(route: Route, call: AnyCall, value: object) -> Kept:
    """The answer as it goes out."""
    headers = {"Cache-Control": _NEVER if route.secret or route.changes else _FRESH}
    headers["X-Content-Type-Options"] = "nosniff"
    if route.told is None:
        return Kept(route.status, tuple(headers.items()), b"")
    assert isinstance(value, BaseModel)  # the test of the table asks every handler for what its route promises
    document = written(value)
    if route.tagged:
        headers["ETag"] = etag_of(document, value.beside if isinstance(value, Told) else frozenset())
        if not route.changes and is_known(call.request, headers["ETag"]):
            return Kept(304, tuple(headers.items()), b"")
    if route.made_at:
        headers["Location"] = ROOT + route.made_at.format(**document)
    if route.turns and (following := document.get("next")):
        headers["Link"] = f'<{call.request.rel_url.update_query(cursor=following)}>; rel="next"'
    headers["Content-Type"] = _JSON
    shown: Mapping[str, Any] = sparse(document, getattr(call.query, "fields", ""), page=route.lists)
    body = json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()
    return Kept(route.status, tuple(headers.items()), body)
