"""The table of pages: who may see each one, what it takes and what answers. Nothing is served beside it.

Rule: a page says which right it takes, or that it is for everybody or for whoever is signed in; without that it cannot
be registered. Whoever asks reaches no further than they hold that very right.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from aiohttp import web

from provisioner.administrators import Administrators
from provisioner.errors import Invalid, NotSignedIn, ProvisionerError
from provisioner.fleet.device_search import Page as Rows
from provisioner.http.api.cursors import read_cursor, written_cursor
from provisioner.http.api.desks import Desks, Means
from provisioner.http.console.forms import Form
from provisioner.http.fleet_state import FleetState
from provisioner.http.storm_watch import StormWatch
from provisioner.model import Mac
from provisioner.rights import Principal, Right
from provisioner.store.database import Store
from provisioner.store.pages import Key

T = TypeVar("T")

ROWS: Final = 50
"""Rows of a page that people read."""


class Door(Enum):
    """Pages that no right opens."""

    EVERYBODY = "everybody"
    SIGNED_IN = "whoever is signed in"


@dataclass(frozen=True)
class Surroundings:
    """What the admin process has for the console; one for all requests."""

    means: Means
    people: Administrators
    fleet: FleetState
    watch: StormWatch
    secure: bool
    """Browsers come by HTTPS."""


@dataclass(frozen=True)
class Call:
    """One request of a browser, read and checked."""

    request: web.Request = field(repr=False)
    around: Surroundings
    allowed: Right | Door
    store: Store
    principal: Principal | None = None
    token: str = field(default="", repr=False)
    """Of the session."""
    form: Form = field(default_factory=Form, repr=False)
    error: ProvisionerError | None = None
    """Why the form that was sent is shown again."""

    @property
    def means(self) -> Means:
        """What the process has."""
        return self.around.means

    @property
    def who(self) -> Principal:
        """Whoever is signed in."""
        if self.principal is None:
            raise NotSignedIn("nobody is signed in here")
        return self.principal

    @property
    def now(self) -> float:
        """Unix time."""
        return self.means.clock()

    @property
    def desks(self) -> Desks:
        """The use-cases, as far as the page's own right reaches."""
        if not isinstance(self.allowed, Right):
            raise TypeError("a page without a right has no use-cases")
        return self.at(self.allowed)

    def at(self, right: Right) -> Desks:
        """The use-cases as far as another right reaches; Forbidden where it is not held."""
        return Desks(self.means, self.store, self.who.doing(right))

    def may(self, right: Right) -> bool:
        """Whether whoever asks holds the right anywhere: what they can do is shown, what they cannot is not."""
        return self.principal is not None and self.principal.may(right)

    def place(self, name: str) -> str:
        """A name in the path; refused where no id or name could be meant."""
        text = self.request.match_info[name]
        if not 0 < len(text) <= 254 or not text.isprintable():
            raise Invalid(name, "must be 1 to 254 characters that can be printed")
        return text

    @property
    def mac(self) -> Mac:
        """The device that the path names."""
        return Mac.parse(self.place("mac"))

    def asked(self, name: str, longest: int = 254) -> str:
        """What stands behind the question mark; empty where nothing does, or nothing that could be meant."""
        text = self.request.query.get(name, "").strip()
        return text if len(text) <= longest and text.isprintable() else ""

    def after(self, of: str, *kinds: type) -> Key:
        """Where the page of a list begins; a cursor that is none begins anew."""
        try:
            return read_cursor(of, self.asked("cursor", 400), *kinds)
        except Invalid:
            return ()


@dataclass(frozen=True)
class View:
    """A page to show."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    status: int = 200
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class See:
    """It is done: look there (303), so that loading the page again does nothing twice."""

    path: str
    said: str = ""
    """Told once on the next page; no secret."""
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)


Answer = View | See | web.StreamResponse
Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True)
class Page:
    """One line of the table."""

    method: str
    path: str
    allowed: Right | Door
    handler: Handler
    again: Handler | None = None
    """Shows the form again with what is wrong, where a POST is refused."""
    whole: bool = True
    """A POST is one transaction: all that it does, or nothing."""
    files: int = 0
    """Bytes of files that it takes."""

    @property
    def name(self) -> str:
        """Stable, for tests and the log."""
        return self.handler.__name__


class Pages:
    """The pages of one noun."""

    def __init__(self) -> None:
        self._rows: list[Page] = []

    def __iter__(self) -> Iterator[Page]:
        """In the order in which they were written."""
        return iter(self._rows)

    def get(self, path: str, allowed: Right | Door) -> Callable[[Handler], Handler]:
        """Something is shown."""
        return self._add("GET", path, allowed)

    def post(
        self, path: str, allowed: Right | Door, *, again: Handler | None = None, whole: bool = True, files: int = 0
    ) -> Callable[[Handler], Handler]:
        """Something is done."""
        return self._add("POST", path, allowed, again=again, whole=whole, files=files)

    def _add(self, method: str, path: str, allowed: Right | Door, **about: Any) -> Callable[[Handler], Handler]:
        if not isinstance(allowed, (Right, Door)):
            raise TypeError(f"{method} {path} declares no right, so nobody could be let in")

        def register(handler: Handler) -> Handler:
            self._rows.append(Page(method, path, allowed, handler, **about))
            return handler

        return register


@dataclass(frozen=True)
class Listed(Generic[T]):
    """A page of a list, with the address of the next one."""

    items: list[T]
    next: str
    """Empty on the last one."""
    first: str
    """The address of the first one, where this is another; else empty."""

    @classmethod
    def of(cls, call: Call, name: str, page: Rows[T]) -> Listed[T]:
        """``name``: the list that the cursor belongs to."""
        here = call.request.rel_url
        cursor = written_cursor(name, page.next)
        following = str(here.update_query(cursor=cursor)) if cursor else ""
        first = str(here.without_query_params("cursor")) if "cursor" in here.query else ""
        return cls(list(page.items), following, first)


def table(nouns: Iterable[Pages]) -> tuple[Page, ...]:
    """All pages; two that mean the same cannot be there."""
    rows = tuple(row for noun in nouns for row in noun)
    seen = [(row.method, row.path) for row in rows]
    if twice := {one for one in seen if seen.count(one) > 1}:
        raise TypeError(f"{sorted(twice)} stand twice in the table of pages")
    return rows
