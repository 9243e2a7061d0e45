"""Where other systems post: POST /hooks/in/NAME. Bounded, proven by the source's secret, answered in a few words.

Whatever does not prove itself hears the same 401, whether there is such a source or not, and is counted by its address.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from provisioner.errors import BodyTooLarge, NotSignedIn, ProvisionerError, Throttled
from provisioner.events import printable
from provisioner.hooks.intake import Intake
from provisioner.http.api.rates import Rates

log: Final = logging.getLogger("provisioner.server")

PLACE: Final = "/hooks/in/{name}"
_STRANGERS: Final = (1.0, 60)
"""Posts a second and at once, of an address that proves nothing."""
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_NAME: Final = 63
_UNPROVEN: Final = {
    "error": "not_proven",
    "cause": "the signature or secret of this post is missing or wrong, or there is no such source",
    "cure": (
        "check the name in the address, that the secret is the one that the source has now, that the signature is made "
        "over the very bytes that are sent, that all its headers are there, and where it has a time the clock; the "
        "log of this server says which of them it was"
    ),
}
"""The same for all: who cannot prove anything is not told whether there is such a source."""


@dataclass(frozen=True)
class HookEdge:
    """Answers what is posted."""

    intake: Intake
    body: int
    """Bytes."""
    rates: Rates
    """By source."""
    strangers: Rates
    """By address."""

    async def answer(self, request: web.Request) -> web.Response:
        """One post, whatever happens."""
        try:
            return await self._answer(request)
        except Throttled as error:
            return _told(429, {"error": error.kind}, {"Retry-After": str(error.retry_after)})
        except NotSignedIn:
            return _told(401, _UNPROVEN)
        except ProvisionerError as error:
            if error.status >= 500:
                log.error("a webhook could not be taken in: %s", error.cause)
            return _told(error.status if error.status != 500 else 503, {"error": error.kind}, {"Retry-After": "30"})

    async def _answer(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if len(name) > _NAME:
            raise NotSignedIn("no such source")
        body = await self._read(request)
        headers = {key.lower(): value for key, value in request.headers.items()}
        try:
            taken = await self.intake.receive(name, headers, body, self.rates.admit)
        except NotSignedIn as error:
            self.strangers.admit(request.remote or "")
            log.warning("a post to %s was refused: %s", printable(name), error.cause)
            raise
        one = taken.message
        return _told(200 if taken.again else 202, {"message": one.id, "state": one.state.value, "why": one.why})

    async def _read(self, request: web.Request) -> bytes:
        if (request.content_length or 0) > self.body:
            raise BodyTooLarge("webhook.body")
        said = bytearray()
        async for chunk in request.content.iter_any():
            said += chunk
            if len(said) > self.body:
                raise BodyTooLarge("webhook.body")
        return bytes(said)


def _told(status: int, document: Mapping[str, object], headers: Mapping[str, str] | None = None) -> web.Response:
    body = json.dumps(document).encode()
    return web.Response(
        status=status, body=body, content_type="application/json", headers={**_HEADERS, **(headers or {})}
    )


def add_hooks(application: web.Application, intake: Intake, body: int, rate: float, burst: int) -> None:
    """Let sources post at the admin edge."""
    edge = HookEdge(intake, body, Rates(rate, burst), Rates(*_STRANGERS))
    application.router.add_post(PLACE, edge.answer)
