"""Activation codes: who has one, and making, showing, printing and taking them back."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from aiohttp import web

from provisioner.activation.letters import CodeLetters
from provisioner.activation.sheet import sheet
from provisioner.codes import CodeState
from provisioner.errors import Invalid
from provisioner.http.console.choices import accounts, model_choices
from provisioner.http.console.pages import ROWS, Answer, Call, Listed, Pages, See, View
from provisioner.http.console.wizard import told_code
from provisioner.model import Mac
from provisioner.rights import Right

codes = Pages()

_STYLE: Final = re.compile(r"<style>(.*?)</style>", re.DOTALL)


@codes.get("/codes", Right.CODE_READ)
async def list_codes(call: Call) -> Answer:
    """Codes without their digits, the newest first."""
    account, text = call.asked("account"), call.asked("state", 20)
    state = CodeState(text) if text in set(CodeState) else None
    page = await call.desks.search.code_page(
        account=account, state=state, after=call.after("codes", float, str), limit=ROWS
    )
    values = {
        "rows": Listed.of(call, "codes", page),
        "arrivals": await call.desks.codes.arrivals(list(page.items)),
        "accounts": await accounts(call),
        "account": account,
        "state": text,
        "states": [(one.value, one.value) for one in CodeState],
    }
    return View("codes.html.j2", values)


@codes.get("/codes/new", Right.CODE_ISSUE)
async def new_code(call: Call) -> Answer:
    """For which extension, and what it is tied to."""
    values = {"extension": call.form.text("extension") or call.asked("extension"),
              "mac": call.form.text("mac") or call.asked("mac"), "models": model_choices(call),
              "mails": bool(call.means.settings.mail_host)}  # fmt: skip
    return View("code_new.html.j2", values)


@codes.post("/codes/new", Right.CODE_ISSUE, again=new_code)
async def issue_code(call: Call) -> Answer:
    """The digits are shown here, once."""
    form = call.form
    if not form.text("extension"):
        raise Invalid("extension", "say for which extension")
    made = await call.desks.codes.issue(
        form.text("extension"),
        model=form.text("model").partition("/")[2],
        mac=Mac.parse(form.text("mac")) if form.text("mac") else None,
        replace=form.flag("replace"),
        mail=True if form.flag("mail") else None,
    )
    return View("code_shown.html.j2", told_code(made))


@codes.post("/codes/{extension}/reveal", Right.CODE_REVEAL, again=list_codes)
async def reveal_code(call: Call) -> Answer:
    """The digits again; that they were read is written down first."""
    made = await call.desks.codes.reveal(call.place("extension"))
    return View("code_shown.html.j2", told_code(made))


@codes.post("/codes/{extension}/reissue", Right.CODE_ISSUE, again=list_codes)
async def reissue_code(call: Call) -> Answer:
    """Another one with the same ties."""
    made = await call.desks.codes.reissue(call.place("extension"))
    return View("code_shown.html.j2", told_code(made))


@codes.post("/codes/{extension}/revoke", Right.CODE_ISSUE, again=list_codes)
async def revoke_code(call: Call) -> Answer:
    """Taken back."""
    found = await call.desks.codes.revoke(call.place("extension"))
    return See("/codes", f"The code of extension {found.number} is worth nothing any more.")


@codes.post("/codes/sheet", Right.CODE_REVEAL, again=list_codes)
async def print_codes(call: Call) -> Answer:
    """A page of cards to print, of the codes that were ticked; each one is written down as read."""
    chosen = call.form.many("extension")
    if not chosen:
        raise Invalid("extension", "tick the codes to print")
    means, who = call.means, call.who.doing(Right.CODE_REVEAL)
    letters = CodeLetters(call.store, means.drivers, means.settings, actor=who.actor, clock=means.clock, principal=who)
    text = sheet(means.settings, await letters.cards(chosen))
    return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": _policy(text)})


def _policy(text: str) -> str:
    """The sheet is a file that people save and print, so its style stands in it: that one, and nothing else."""
    styles = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in _STYLE.findall(text))
    allowed = " ".join(f"'sha256-{one}'" for one in styles)
    return f"default-src 'none'; style-src {allowed}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
