"""The console as a part of the admin edge's web application: its pages, and the files that they load."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Final

from aiohttp import web

from provisioner.http.api.rates import Rates
from provisioner.http.console.administrators import administrators
from provisioner.http.console.certificates import certificates
from provisioner.http.console.codes import codes
from provisioner.http.console.device import device
from provisioner.http.console.device_acts import acts
from provisioner.http.console.device_bulk import bulk
from provisioner.http.console.device_export import export
from provisioner.http.console.device_keys import device_keys
from provisioner.http.console.device_port import port
from provisioner.http.console.device_proof import proof
from provisioner.http.console.devices import devices
from provisioner.http.console.diagnosis import diagnosis
from provisioner.http.console.edge import HEADERS, ConsoleEdge
from provisioner.http.console.imports import imports
from provisioner.http.console.inbound import inbound
from provisioner.http.console.inbox import inbox
from provisioner.http.console.jobs import jobs
from provisioner.http.console.keys import keys
from provisioner.http.console.layers import layers
from provisioner.http.console.licenses import licenses
from provisioner.http.console.look import ASSETS, Look, asset
from provisioner.http.console.me import me
from provisioner.http.console.models import models
from provisioner.http.console.numbers import numbers
from provisioner.http.console.overview import overview
from provisioner.http.console.pages import Page, Surroundings, table
from provisioner.http.console.partners import partners
from provisioner.http.console.people import people
from provisioner.http.console.places import places
from provisioner.http.console.policies import policies
from provisioner.http.console.profiles import profiles
from provisioner.http.console.records import records
from provisioner.http.console.refusals import refusals
from provisioner.http.console.revisions import revisions
from provisioner.http.console.sessions import sessions
from provisioner.http.console.sites import sites
from provisioner.http.console.swap import swap
from provisioner.http.console.webhooks import webhooks
from provisioner.http.console.wizard import wizard

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOREVER: Final = "public, max-age=31536000, immutable"


@lru_cache(maxsize=1)
def pages() -> tuple[Page, ...]:
    """All pages of the console."""
    return table(
        [
            sessions,
            me,
            overview,
            devices,
            device,
            acts,
            swap,
            bulk,
            export,
            port,
            device_keys,
            proof,
            diagnosis,
            wizard,
            people,
            places,
            sites,
            codes,
            layers,
            revisions,
            models,
            records,
            imports,
            jobs,
            partners,
            policies,
            licenses,
            numbers,
            webhooks,
            inbound,
            inbox,
            administrators,
            keys,
            certificates,
            refusals,
            profiles,
        ]
    )


def add_console(application: web.Application, around: Surroundings) -> None:
    """Serve the console: to whoever is signed in, and the login to everybody."""
    settings = around.means.settings
    edge = ConsoleEdge(around, Look(), Rates(settings.api_rate, settings.api_burst))
    for page in sorted(pages(), key=lambda one: one.path.count("{")):  # fixed words go before names
        application.router.add_route(page.method, page.path, partial(_answer, edge, page))
    for name in sorted(path.name for path in ASSETS.iterdir() if path.suffix in _TYPES):
        application.router.add_get(asset(name), partial(_asset, name))
    application.router.add_get("/favicon.ico", _no_icon)


async def _answer(edge: ConsoleEdge, page: Page, request: web.Request) -> web.StreamResponse:
    return await edge.answer(page, request)


async def _asset(name: str, request: web.Request) -> web.Response:
    del request
    body = (ASSETS / name).read_bytes()
    headers = {**HEADERS, "Cache-Control": _FOREVER}
    return web.Response(body=body, content_type=_TYPES["." + name.rpartition(".")[2]], headers=headers)


async def _no_icon(request: web.Request) -> web.Response:
    del request
    return web.Response(status=204)
