"""Rule: a hook whose every answer is the next document of a call: who asks is proven first, then the call goes on.

What is the same for TwiML and mod_httapi stands here; how each spells a call and a document stands with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from ivr.adapters.documents import LONGEST_ID, Document, DocumentCalls, Keyed
from ivr.adapters.hooks import Heard, hear, refused, xml
from ivr.flow import Caller


@dataclass(frozen=True, slots=True)
class Step:
    """What a request says, read."""

    call_id: str
    over: bool
    number: int | None
    """Of the document that it answers; None where the other side does not tell."""
    keyed: Keyed = field(repr=False)
    caller: Caller


class DocumentHook(ABC):
    """``largest`` is of a body, in bytes."""

    def __init__(self, name: str, path: str, calls: DocumentCalls, *, methods: tuple[str, ...], largest: int) -> None:
        self.name = name
        self._path = path
        self._calls = calls
        self._methods = methods
        self._largest = largest

    @property
    def path(self) -> str:
        """A secret may stand below it."""
        return self._path

    @property
    def calls(self) -> int:
        """That stand."""
        return self._calls.under_way

    async def close(self) -> None:
        """Calls that stand are over."""
        await self._calls.close()

    async def handle(self, request: web.BaseRequest, source: str) -> web.Response:
        """Who has no proof gets 403 and nothing else."""
        heard = await hear(request, self._largest, source) if self._expects(source) else None
        if heard is None or not self._proves(heard):
            return refused()
        if heard.method not in self._methods:
            return web.Response(status=405, headers={"Allow": ", ".join(self._methods)})
        try:
            step = self._read(self._told(heard))
        except ValueError:
            return web.Response(status=400)
        if not 0 < len(step.call_id) <= LONGEST_ID:
            return web.Response(status=400)
        return xml(await self._next(step))

    async def _next(self, step: Step) -> bytes:
        if step.over:
            self._calls.end(step.call_id)
            return self._written(None)
        return self._written(await self._calls.step(step.call_id, step.number, step.keyed, step.caller))

    def _expects(self, source: str) -> bool:
        """Whether this address may ask at all; its body is not read otherwise."""
        del source
        return True

    def _told(self, heard: Heard) -> Mapping[str, str]:
        """The fields that are believed; ValueError when there are too many."""
        return heard.fields

    @abstractmethod
    def _proves(self, heard: Heard) -> bool:
        """Whether the request is the other side's."""

    @abstractmethod
    def _read(self, fields: Mapping[str, str]) -> Step:
        """What it says."""

    @abstractmethod
    def _written(self, document: Document | None) -> bytes:
        """The document as the other side reads it; None for a call that is over."""


def number_of(told: str) -> int | None:
    """A document's number as it came back."""
    return int(told) if told.isascii() and told.isdigit() and len(told) <= 6 else None
