"""One's own account: password, second factor, and where one is signed in."""

from __future__ import annotations

import re
from typing import Final

from provisioner.errors import Invalid
from provisioner.http.api.gatekeeper import session_cookie
from provisioner.http.console.pages import Answer, Call, Door, Pages, See, View
from provisioner.mail.text import svg

me = Pages()
_SEED: Final = re.compile(r"[A-Z2-7]{16,64}")
"""Base32."""


@me.get("/me", Door.SIGNED_IN)
async def own_page(call: Call) -> Answer:
    """Everything about oneself."""
    people = call.around.people
    sessions = await people.sessions(call.token)
    roles = sorted(one.value for one in call.who.roles)
    least = call.means.settings.login_password_least
    values = {"sessions": sessions, "own": call.who.credential, "roles": roles, "least": least}
    return View("me.html.j2", values)


def _renewed(call: Call, token: str, said: str) -> See:
    return See("/me", said, {session_cookie(call.around.secure): token})


@me.post("/me/password", Door.SIGNED_IN, again=own_page, whole=False)
async def change_password(call: Call) -> Answer:
    """Another password; everybody else who is signed in under this name is signed out."""
    form = call.form
    if form.raw("new") != form.raw("again"):
        raise Invalid("again", "is not the same as the new password")
    token = await call.around.people.change_password(
        call.token, password=form.raw("password"), new=form.raw("new"), code=form.text("code")
    )
    return _renewed(call, token, "Your password is changed. Your other sessions have ended.")


@me.get("/me/second-factor", Door.SIGNED_IN)
async def factor_page(call: Call) -> Answer:
    """A seed for an authenticator app; nothing is kept before a code of it came back."""
    made = await call.around.people.begin_totp(call.token)
    return View("factor.html.j2", {"seed": made.seed, "picture": svg(made.uri)})


async def _factor_again(call: Call) -> Answer:
    """The same seed once more: it is in the app already."""
    seed = call.form.raw("seed")
    return View("factor.html.j2", {"seed": seed, "picture": svg(uri) if (uri := await _uri(call, seed)) else ""})


async def _uri(call: Call, seed: str) -> str:
    """What the picture says; empty for what is no seed, which somebody has written into the page himself."""
    return await call.around.people.totp_uri(call.token, seed) if _SEED.fullmatch(seed) else ""


@me.post("/me/second-factor", Door.SIGNED_IN, again=_factor_again, whole=False)
async def confirm_factor(call: Call) -> Answer:
    """From now on a code is needed to sign in; recovery codes are told once."""
    form = call.form
    token, codes = await call.around.people.confirm_totp(
        call.token, password=form.raw("password"), seed=form.raw("seed"), code=form.text("code")
    )
    return View("recovery.html.j2", {"codes": codes}, cookies={session_cookie(call.around.secure): token})


@me.post("/me/second-factor/off", Door.SIGNED_IN, again=own_page, whole=False)
async def factor_off(call: Call) -> Answer:
    """The password alone is enough from now on."""
    form = call.form
    token = await call.around.people.take_off_totp(call.token, password=form.raw("password"), code=form.text("code"))
    return _renewed(call, token, "Your password alone is enough from now on.")


@me.post("/me/sessions/end", Door.SIGNED_IN, whole=False)
async def end_sessions(call: Call) -> Answer:
    """Sign out everywhere else."""
    count = await call.around.people.logout_everywhere(call.token, but_here=True)
    return See("/me", f"{count} other session{'' if count == 1 else 's'} ended.")
