"""Who asks: a key of the API, or the session of somebody who is signed in at the console.

A key is sent on purpose with each call; a cookie is sent by a browser whoever made it ask. So what a session changes
carries the session's CSRF token as well, which no other site can read.
"""

from __future__ import annotations

from typing import Final, Protocol

from aiohttp import web

from provisioner.errors import NotSignedIn
from provisioner.rights import Principal

COOKIES: Final = ("__Host-provisioner", "provisioner")
"""The session's: the first over HTTPS, where a browser lets nobody else set it, the second on this machine alone."""
CSRF: Final = "X-CSRF-Token"
_SAFE: Final = frozenset({"GET", "HEAD"})
_LONGEST: Final = 512


def session_cookie(secure: bool) -> str:
    """How the session's cookie is called here. No other is taken: another host of the domain may have set it."""
    return COOKIES[0] if secure else COOKIES[1]


class Gatekeeper(Protocol):
    """Reads the proof that a request brings."""

    async def principal(self, request: web.Request) -> Principal:
        """Who it is; NotSignedIn or Throttled when that is not proven."""


class People(Protocol):
    """Whoever knows administrators, their sessions and their keys."""

    async def by_session(self, token: str) -> Principal:
        """Whoever is signed in with this cookie."""

    async def by_token(self, text: str) -> Principal:
        """Whoever asks with this key of the API."""

    def check_csrf(self, token: str, given: str) -> None:
        """NotSignedIn unless a request carries its own session's token."""


class Keeper:
    """The product's own."""

    def __init__(self, people: People, *, secure: bool) -> None:
        """``secure``: browsers come over HTTPS."""
        self._people = people
        self._cookie = session_cookie(secure)

    async def principal(self, request: web.Request) -> Principal:
        """By key where one is sent, else by cookie."""
        told = request.headers.getall("Authorization", [])
        if told:
            return await self._people.by_token(_key(told))
        token = request.cookies.get(self._cookie, "")
        if not token:
            raise NotSignedIn("this call brings neither a key nor a session")
        if request.method not in _SAFE:
            self._people.check_csrf(token, request.headers.get(CSRF, ""))
        return await self._people.by_session(token)


def _key(told: list[str]) -> str:
    scheme, _, key = told[0].partition(" ")
    key = key.strip()
    if len(told) > 1 or scheme.lower() != "bearer" or not key.isascii() or not 0 < len(key) <= _LONGEST:
        raise NotSignedIn("Authorization must be `Bearer` and one key of the API")
    return key
