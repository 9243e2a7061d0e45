"""The way of a request: which page, whose session, is the form this session's own, may they, what came of it.

A form is sent by this console's own pages alone: its session's CSRF token is in it, and a browser that says where it
comes from has to come from here. What is refused is shown on the page that it was sent from, with all that was typed.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from aiohttp import web
from yarl import URL

from provisioner.errors import (
    Forbidden,
    LoginRefused,
    NotSignedIn,
    ProofNeeded,
    ProvisionerError,
    StoreFailed,
    Throttled,
)
from provisioner.http.api.gatekeeper import session_cookie
from provisioner.http.api.rates import Rates
from provisioner.http.console.cures import KINDS, way_of
from provisioner.http.console.forms import read_form
from provisioner.http.console.look import Look
from provisioner.http.console.pages import Answer, Call, Door, Page, See, Surroundings, View
from provisioner.rights import Right
from provisioner.store.database import Store
from provisioner.store.joined import joined

log: Final = logging.getLogger("provisioner.server")

_SAID: Final = "provisioner-said"
"""The cookie that carries one sentence to the next page; no secret."""
_LONGEST: Final = 600
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""With ``no-referrer`` a browser would not say where a form comes from."""


@dataclass(frozen=True)
class ConsoleEdge:
    """Answers the requests for all pages."""

    around: Surroundings
    look: Look
    rates: Rates

    async def answer(self, page: Page, request: web.Request) -> web.StreamResponse:
        """One request, whatever happens."""
        call = Call(request, self.around, page.allowed, self.around.means.store)
        try:
            call = await self._known(page, call)
            return self._sent(*await self._answered(page, call))
        except NotSignedIn:
            return self._to_login(request)
        except ProofNeeded:
            return self._to_confirm(request)
        except ProvisionerError as error:
            return self._refused(call, error)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:  # one request's end: its fault ends no other and tells nobody outside what it was
            log.exception("%s %s failed because of a fault in the program", page.method, page.path)
            return self._refused(call, ProvisionerError("a fault of the program"))

    async def _known(self, page: Page, call: Call) -> Call:
        """With whoever asks, where the page is not for everybody."""
        token = token_of(call.request, self.around.secure)
        if token:
            try:
                principal = await self.around.people.by_session(token)
                call = replace(call, principal=principal, token=token)
            except NotSignedIn:
                if page.allowed is not Door.EVERYBODY:
                    raise
        if page.allowed is Door.EVERYBODY:
            return call
        self.rates.admit(call.who.throttle or call.who.actor)
        if isinstance(page.allowed, Right):
            call.who.doing(page.allowed)
        return call

    async def _answered(self, page: Page, call: Call) -> tuple[Call, Answer]:
        if page.method == "GET":
            return call, await page.handler(call)
        self._require_here(call.request)
        call = replace(call, form=await read_form(call.request, page.files))
        if call.principal is not None:
            self.around.people.check_csrf(call.token, call.form.raw("csrf"))
        try:
            async with _transaction(page, call.store) as store:
                return call, await page.handler(replace(call, store=store))
        except ProvisionerError as error:
            return await self._shown_again(page, call, error)

    async def _shown_again(self, page: Page, call: Call, error: ProvisionerError) -> tuple[Call, Answer]:
        """The page that the form stands on, with what is wrong and what was typed."""
        gone = isinstance(error, NotSignedIn) and not isinstance(error, LoginRefused)
        if page.again is None or not 400 <= error.status < 500 or gone or isinstance(error, Forbidden):
            raise error
        call = replace(call, error=error)
        answer = await page.again(call)
        return call, replace(answer, status=error.status) if isinstance(answer, View) else answer

    def _require_here(self, request: web.Request) -> None:
        """Forbidden where a browser says that the form comes from elsewhere (Fetch Metadata, RFC 6454)."""
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            raise Forbidden("this form was sent by another site")
        origin = request.headers.get("Origin", "")
        known = {request.host, URL(self.around.means.settings.login_url or "http://none.invalid").authority}
        if origin and _authority(origin) not in known:
            raise Forbidden("this form was sent by another site")

    # --- answers --------------------------------------------------------------------------------------

    def _sent(self, call: Call, answer: Answer) -> web.StreamResponse:
        if isinstance(answer, View):
            return self._page(call, answer)
        if isinstance(answer, See):
            return self._elsewhere(answer)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    def _page(self, call: Call, view: View) -> web.Response:
        said = _read_said(call.request)
        text = self.look.page(call, view, said)
        response = web.Response(text=text, status=view.status, content_type="text/html", headers=HEADERS)
        if said:
            response.del_cookie(_SAID, path="/")
        for name, value in view.cookies.items():
            _set_session(response, name, value, self.around.secure)
        return response

    def _elsewhere(self, answer: See) -> web.Response:
        response = web.Response(status=HTTPStatus.SEE_OTHER, headers={**HEADERS, "Location": answer.path})
        secure = self.around.secure
        if answer.said:
            text = base64.urlsafe_b64encode(answer.said[:_LONGEST].encode()).decode()
            response.set_cookie(_SAID, text, max_age=30, path="/", httponly=True, samesite="Strict", secure=secure)
        for name, value in answer.cookies.items():
            _set_session(response, name, value, secure)
        return response

    def _to_login(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("HX-Request") == "true":  # a part of a page cannot be a login page
            return web.Response(status=401, headers={**HEADERS, "HX-Redirect": "/login"})
        here = request.path_qs if request.method == "GET" and request.path not in {"/", "/login"} else ""
        return self._elsewhere(See(str(URL("/login").with_query({"next": here}) if here else URL("/login"))))

    def _to_confirm(self, request: web.Request) -> web.StreamResponse:
        """Ask for the password, and go on with the page; of a form with the page that it stands on."""
        here = request.path_qs if request.method == "GET" else _path_of(request.headers.get("Referer", ""))
        there = str(URL("/confirm").with_query({"next": here or "/"}))
        if request.headers.get("HX-Request") == "true":
            return web.Response(status=403, headers={**HEADERS, "HX-Redirect": there})
        said = "" if request.method == "GET" else "Nothing was done yet: send the form again after this."
        return self._elsewhere(See(there, said))

    def _refused(self, call: Call, error: ProvisionerError) -> web.StreamResponse:
        if error.status >= 500:
            log.error("%s %s: %s", call.request.method, call.request.path, error.cause)
        told = error.cause if error.status < 500 or isinstance(error, StoreFailed) else "the server has a fault"
        way = way_of(error, call)
        cure = "" if way else KINDS.get(error.kind, "")
        values = {"cause": told, "cure": cure, "way": way, "title": _title(error.status)}
        response = self._page(call, View("refused.html.j2", values, error.status))
        if isinstance(error, Throttled):
            response.headers["Retry-After"] = str(error.retry_after)
        return response


@asynccontextmanager
async def _transaction(page: Page, store: Store) -> AsyncIterator[Store]:
    if not page.whole:
        yield store
        return
    async with joined(store) as whole:
        yield whole


def _title(status: int) -> str:
    titles = {
        403: "Not allowed",
        404: "Not found",
        409: "Not possible",
        412: "Changed meanwhile",
        429: "Too many at once",
    }
    return titles.get(status, "Not possible" if status < 500 else "Something is wrong here")


def _path_of(address: str) -> str:
    """Path and query of a page's address; whether it is one of ours is asked where somebody is sent there."""
    try:
        return URL(address).raw_path_qs
    except ValueError:
        return ""


def _authority(origin: str) -> str:
    try:
        return URL(origin).authority
    except ValueError:
        return ""


def token_of(request: web.Request, secure: bool) -> str:
    """The session that a browser brings; empty for none."""
    return request.cookies.get(session_cookie(secure), "")


def _set_session(response: web.Response, name: str, value: str, secure: bool) -> None:
    if value:
        response.set_cookie(name, value, path="/", httponly=True, samesite="Strict", secure=secure)
    else:
        response.del_cookie(name, path="/", secure=secure, httponly=True, samesite="Strict")


def _read_said(request: web.Request) -> str:
    try:
        return base64.urlsafe_b64decode(request.cookies.get(_SAID, "").encode()).decode()[:_LONGEST]
    except ValueError:
        return ""
