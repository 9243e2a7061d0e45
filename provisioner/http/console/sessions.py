"""Signing in and out, and setting a password by a one-time link. What was wrong is told to nobody."""

from __future__ import annotations

import re
from typing import Final

from provisioner.errors import Invalid, LoginRefused, NotFound
from provisioner.http.api.gatekeeper import session_cookie
from provisioner.http.console.edge import token_of
from provisioner.http.console.pages import Answer, Call, Door, Pages, See, View
from provisioner.sign_in import Came

sessions = Pages()

_INSIDE: Final = re.compile(r"/(?![/\\])[!-~]{0,500}")
"""A path of this console: no other host, no control character."""


def _next(text: str) -> str:
    return text if _INSIDE.fullmatch(text) else "/"


@sessions.get("/login", Door.EVERYBODY)
async def login_page(call: Call) -> Answer:
    """Name, password and, where there is one, the second factor."""
    if call.principal is not None:
        return See("/")
    onward = _next(call.form.raw("next") or call.asked("next", 500))
    return View("login.html.j2", {"onward": onward, "mails": bool(call.means.settings.mail_host)})


@sessions.post("/login", Door.EVERYBODY, again=login_page, whole=False)
async def login(call: Call) -> Answer:
    """Begin a session."""
    request, form = call.request, call.form
    came = Came(request.remote or "", request.headers.get("User-Agent", ""))
    before = token_of(request, call.around.secure)
    signed = await call.around.people.login(
        form.raw("email"), form.raw("password"), code=form.text("code"), came=came, before=before
    )
    return See(_next(form.raw("next")), cookies={session_cookie(call.around.secure): signed.token})


@sessions.post("/logout", Door.SIGNED_IN, whole=False)
async def logout(call: Call) -> Answer:
    """End this session."""
    await call.around.people.logout(call.token)
    return See("/login", "You are signed out.", {session_cookie(call.around.secure): ""})


@sessions.get("/confirm", Door.SIGNED_IN)
async def confirm_page(call: Call) -> Answer:
    """The password again, before something that would outlive an open session."""
    onward = _next(call.form.raw("next") or call.asked("next", 500))
    minutes = round(call.means.settings.login_lasting / 60)
    return View("confirm.html.j2", {"onward": onward, "minutes": minutes})


@sessions.post("/confirm", Door.SIGNED_IN, again=confirm_page, whole=False)
async def confirm(call: Call) -> Answer:
    """Back to where it was asked for, in the same session."""
    form = call.form
    token = await call.around.people.confirm(call.token, password=form.raw("password"), code=form.text("code"))
    return See(_next(form.raw("next")), cookies={session_cookie(call.around.secure): token})


@sessions.get("/login/link", Door.EVERYBODY)
async def link_page(call: Call) -> Answer:
    """A new password, by a link that was mailed or printed."""
    token = call.form.raw("token") or call.asked("token")
    try:
        who = await call.around.people.link_of(token)
    except NotFound as error:
        return View("link_over.html.j2", {"cause": error.cause}, error.status)
    least = call.means.settings.login_password_least
    return View("link.html.j2", {"email": who.email, "link": token, "least": least})


@sessions.post("/login/link", Door.EVERYBODY, again=link_page, whole=False)
async def set_password(call: Call) -> Answer:
    """Use the link up, and begin a session where no second factor is needed."""
    form = call.form
    if form.raw("password") != form.raw("again"):
        raise Invalid("again", "is not the same as the first")
    who = await call.around.people.set_password(form.raw("token"), form.raw("password"))
    request = call.request
    came = Came(request.remote or "", request.headers.get("User-Agent", ""))
    try:
        signed = await call.around.people.login(who.email, form.raw("password"), came=came)
    except LoginRefused:  # a second factor is wanted as well
        return See("/login", "The new password is set. Sign in with it and your second factor.")
    return See("/", "The new password is set.", {session_cookie(call.around.secure): signed.token})


@sessions.get("/login/forgot", Door.EVERYBODY)
async def forgot_page(call: Call) -> Answer:
    """Ask for a link by mail."""
    return View("forgot.html.j2", {"mails": bool(call.means.settings.mail_host)})


@sessions.post("/login/forgot", Door.EVERYBODY, again=forgot_page, whole=False)
async def forgot(call: Call) -> Answer:
    """The answer is the same whether there is such a login."""
    request = call.request
    came = Came(request.remote or "", request.headers.get("User-Agent", ""))
    await call.around.people.request_reset(call.form.raw("email"), came=came)
    return See("/login", "If there is such a login, a link is on its way to its mailbox.")
