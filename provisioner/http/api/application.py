"""The API as a part of the admin edge's web application: its routes, its document and the pages that explain it."""

from __future__ import annotations

import json
from functools import lru_cache, partial
from itertools import groupby
from typing import Any, Final

from aiohttp import web

from provisioner.http.api import browse
from provisioner.http.api.accounts import accounts, sites
from provisioner.http.api.codes import codes
from provisioner.http.api.desks import Means
from provisioner.http.api.devices import devices
from provisioner.http.api.diagnosis import diagnosis
from provisioner.http.api.edge import ApiEdge
from provisioner.http.api.events import events
from provisioner.http.api.flights import flights, refusals
from provisioner.http.api.house import house, messages
from provisioner.http.api.imports import imports
from provisioner.http.api.jobs import jobs
from provisioner.http.api.key_recordings import key_recordings
from provisioner.http.api.layers import layers, models
from provisioner.http.api.licenses import licenses, policies
from provisioner.http.api.lines import lines
from provisioner.http.api.numbers import numbers
from provisioner.http.api.openapi import document
from provisioner.http.api.people import administrators, audit, keys
from provisioner.http.api.power import power
from provisioner.http.api.problems import PROBLEMS, refused_status
from provisioner.http.api.profiles import profiles
from provisioner.http.api.rates import Rates
from provisioner.http.api.resyncs import resyncs
from provisioner.http.api.revisions import revisions
from provisioner.http.api.rollouts import rollouts
from provisioner.http.api.routes import ROOT, Route, Table
from provisioner.http.api.status import status
from provisioner.http.api.swaps import swaps
from provisioner.http.api.switches import switches
from provisioner.http.api.tokens import tokens, uploads
from provisioner.http.api.users import extensions, users
from provisioner.http.api.webhook_sources import inbox, sources
from provisioner.http.api.webhooks import webhooks
from provisioner.settings import Settings

_STRANGERS: Final = 1.0
"""Calls a second without a good proof, of one address."""
_STRANGERS_BURST: Final = 60


@lru_cache(maxsize=1)
def table() -> Table:
    """All routes of the API."""
    return Table(
        [
            devices, lines, swaps, status, codes, tokens, uploads, accounts, sites, users, extensions, licenses,
            policies,
            numbers, layers, revisions, rollouts, models, resyncs, events, jobs, imports, messages, webhooks, sources,
            inbox, administrators, keys, audit, house, diagnosis, flights, refusals, switches, power,
            profiles,
            key_recordings,
        ]
    )  # fmt: skip


@lru_cache(maxsize=1)
def openapi() -> dict[str, Any]:
    """The document of them."""
    return document(table())


def rates_of(settings: Settings) -> tuple[Rates, Rates]:
    """Of who is known, and of strangers."""
    return Rates(settings.api_rate, settings.api_burst), Rates(_STRANGERS, _STRANGERS_BURST)


def add_api(application: web.Application, means: Means) -> None:
    """Serve the API below its root; whatever else is asked for there is a problem document."""
    edge = ApiEdge(means, *rates_of(means.settings))
    # Fixed words go before names in the path, so that /events/stream is no event, by whatever method.
    ordered = sorted(table().rows, key=lambda one: (one.path.count("{"), one.path))
    for path, routes in groupby(ordered, key=lambda one: one.full_path):
        for route in routes:
            application.router.add_route(route.method, path, partial(_answer, edge, route))
            if route.method == "GET" and route.media == "application/json":
                application.router.add_route("HEAD", path, partial(_answer, edge, route))
        if "{" not in path:
            application.router.add_route("*", path, _nothing)
    text = json.dumps(openapi(), ensure_ascii=False).encode()
    application.router.add_get(f"{ROOT}/openapi.json", partial(_document, text))
    application.router.add_get(f"{ROOT}/docs", partial(_page, browse.page(openapi())))
    application.router.add_get(PROBLEMS + "{kind}", _problem)
    application.router.add_route("*", ROOT + "{tail:(/.*)?}", _nothing)


async def _answer(edge: ApiEdge, route: Route, request: web.Request) -> web.StreamResponse:
    return await edge.answer(route, request)


async def _document(text: bytes, request: web.Request) -> web.Response:
    del request
    return web.Response(body=text, content_type="application/json", headers={"X-Content-Type-Options": "nosniff"})


async def _page(text: str, request: web.Request) -> web.Response:
    del request
    return web.Response(text=text, content_type="text/html", headers=browse.headers())


async def _problem(request: web.Request) -> web.Response:
    found = browse.problem_page(request.match_info["kind"])
    if found is None:
        return refused_status(404)
    return web.Response(text=found, content_type="text/html", headers=browse.headers())


async def _nothing(request: web.Request) -> web.Response:
    """No such address, or one that takes other methods."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        _, methods = await resource.resolve(request)
        if allowed := methods - {"*"}:
            break  # that address is this one's alone
    return refused_status(405 if allowed else 404, sorted(allowed))
