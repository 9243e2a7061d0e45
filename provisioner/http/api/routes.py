"""The table of routes: what each one is called, takes, answers, and which right it needs. Nothing is served beside it.

Rule: a route without a right cannot be registered, and whoever asks reaches no further than they hold that very right.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel

from provisioner.errors import Invalid
from provisioner.http.api.desks import Desks, Means
from provisioner.http.api.words import Fields, Nothing, Turning
from provisioner.model import Mac
from provisioner.rights import Principal, Right

Q = TypeVar("Q")
B = TypeVar("B")

ROOT: Final = "/api/v1"
_PLACE: Final = re.compile(r"\{([a-z_]+)\}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST: Final = 254
CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True)
class Call(Generic[Q, B]):
    """One request as a handler sees it: everything read, checked and in the caller's reach."""

    request: web.Request = field(repr=False)
    principal: Principal
    desks: Desks
    path: Mapping[str, str]
    query: Q
    body: B = field(repr=False)
    ready: Any = field(default=None, repr=False)
    """What the route's ``prepare`` found."""

    @property
    def means(self) -> Means:
        """What the process has."""
        return self.desks.means

    @property
    def mac(self) -> Mac:
        """The device that the path names."""
        return Mac.parse(self.path["mac"])

    def number(self, name: str, most: int = 999) -> int:
        """A number in the path; Invalid when it is none."""
        text = self.path[name]
        if not (text.isascii() and text.isdecimal() and len(text) <= 18 and 0 < int(text) <= most):
            raise Invalid(name, f"must be a number from 1 to {most}")
        return int(text)


AnyCall = Call[Any, Any]
Handler = Callable[[AnyCall], Awaitable[Any]]
"""Answers with a model, a page, None (204), or a response of its own (a stream)."""


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table."""

    method: str
    path: str
    right: Right
    handler: Handler
    noun: str
    body: type[BaseModel] | None = None
    query: type[BaseModel] = Nothing
    told: Any = None
    """The model that is answered; None where nothing is."""
    status: int = 200
    made_at: str = ""
    """Path of what was made, with fields of the answer in it: the header Location."""
    version: Handler | None = None
    """Reads what is to be changed: its ETag is what If-Match means."""
    must_match: bool = False
    """Without If-Match it is refused, where there is something already."""
    tags: bool = True
    """Its answer is the very document that is changed, so it carries its new ETag."""
    prepare: Handler | None = None
    """Looks at what takes long, before the transaction and outside of it; ``Call.ready`` holds what it found."""
    whole: bool = True
    """The call is one transaction. Without it the use-case has its own: nobody waits behind what it waits for."""
    takes: tuple[str, ...] = ()
    """Media types of a body that is no document of the API: ``Call.body`` holds its bytes."""
    most: int = 0
    """Bytes of such a body; 0: as many as any other."""
    media: str = "application/json"
    secret: bool = False
    """Tells a secret: nothing may keep the answer."""

    @property
    def changes(self) -> bool:
        """Whether it may change anything."""
        return self.method in CHANGING

    @property
    def full_path(self) -> str:
        """With the API's root."""
        return ROOT + self.path

    @property
    def places(self) -> list[str]:
        """Names in the path."""
        return _PLACE.findall(self.path)

    @property
    def name(self) -> str:
        """Stable: the operation's id in the OpenAPI document."""
        return self.handler.__name__

    @property
    def says(self) -> str:
        """What it does."""
        return " ".join((self.handler.__doc__ or "").split())

    @property
    def tagged(self) -> bool:
        """Whether its answer carries an ETag."""
        if self.told is None or self.turns or self.secret:
            return False
        return not self.changes or (self.tags and (self.version is not None or bool(self.made_at)))

    @property
    def lists(self) -> bool:
        """Whether its answer is rows, of which each may be asked for some fields only."""
        return self.told is not None and "items" in self.told.model_fields

    @property
    def turns(self) -> bool:
        """Whether it is a list of pages."""
        return issubclass(self.query, Turning)


class Routes:
    """The routes of one noun; ``says`` stands above them in the reference."""

    def __init__(self, noun: str, says: str) -> None:
        self.noun = noun
        self.says = says
        self._rows: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        """In the order in which they were written."""
        return iter(self._rows)

    def add(self, method: str, path: str, right: Right, **about: Any) -> Callable[[Handler], Handler]:
        """Register what it stands above. TypeError without a right or a word of what it does: that never starts."""
        if not isinstance(right, Right):
            raise TypeError(f"{method} {path} declares no right, so nobody could be let in")

        def register(handler: Handler) -> Handler:
            if not handler.__doc__:
                raise TypeError(f"{method} {path} does not say what it does")
            self._rows.append(Route(method, path, right, handler, self.noun, **about))
            return handler

        return register

    def get(self, path: str, right: Right, told: Any, **about: Any) -> Callable[[Handler], Handler]:
        """Something is read."""
        about.setdefault("query", Fields)
        return self.add("GET", path, right, told=told, **about)

    def post(self, path: str, right: Right, **about: Any) -> Callable[[Handler], Handler]:
        """Something is made, or done."""
        return self.add("POST", path, right, **about)

    def put(self, path: str, right: Right, **about: Any) -> Callable[[Handler], Handler]:
        """Something shall be so."""
        return self.add("PUT", path, right, **about)

    def patch(self, path: str, right: Right, **about: Any) -> Callable[[Handler], Handler]:
        """Parts of something shall be so."""
        return self.add("PATCH", path, right, **about)

    def delete(self, path: str, right: Right, **about: Any) -> Callable[[Handler], Handler]:
        """Something shall be no more."""
        return self.add("DELETE", path, right, **{"status": 200 if "told" in about else 204, **about})


class Table:
    """All routes of the API; two that mean the same cannot be there."""

    def __init__(self, nouns: Iterable[Routes]) -> None:
        self.nouns = tuple(nouns)
        self.rows: tuple[Route, ...] = tuple(row for noun in self.nouns for row in noun)
        seen: set[tuple[str, str]] = set()
        names: set[str] = set()
        for row in self.rows:
            key = row.method, _PLACE.sub("{}", row.path)
            if key in seen or row.name in names:
                raise TypeError(f"{row.method} {row.path} ({row.name}) stands twice in the table")
            seen.add(key)
            names.add(row.name)


def placed(path: Mapping[str, str]) -> Mapping[str, str]:
    """Names in the path, refused where no id or name could be meant."""
    for name, value in path.items():
        if not value or len(value) > _LONGEST or _CONTROL.search(value):
            raise Invalid(name, f"must be 1 to {_LONGEST} characters, none of them a control character")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Invalid(name, "must be UTF-8") from None
    return path
