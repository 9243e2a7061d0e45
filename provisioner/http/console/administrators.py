"""Administrators: who may sign in, in which roles and where, what they were granted for a time; one-time links."""

from __future__ import annotations

from typing import Final

from provisioner.errors import Invalid
from provisioner.http.console.choices import Choices, accounts, names_of, sites
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.rights import Right, Role
from provisioner.roles import GRANTABLE, RIGHT_WORDS
from provisioner.roster import Invited, Known

administrators = Pages()

_HOURS: Final[Choices] = [("3600", "one hour"), ("14400", "4 hours"), ("86400", "one day")]
_LONGEST: Final = 86_400


@administrators.get("/administrators", Right.ROLE_READ)
async def list_administrators(call: Call) -> Answer:
    """Those who hold a role somewhere within reach."""
    found = sorted(await call.desks.roster.administrators(), key=lambda one: one.administrator.email)
    values = {"rows": found, "names": await _names(call, found)}
    return View("administrators.html.j2", values)


async def _names(call: Call, found: list[Known]) -> object:
    held = [role for one in found for role in one.roles]
    grants = [grant.account for one in found for grant in one.grants]
    return await names_of(call, [*(one.account for one in held), *grants], [one.site for one in held])


async def _places(call: Call) -> dict[str, object]:
    """Where a role can be given."""
    everything = call.desks.principal.reach.accounts is None
    return {
        "roles": [(one.value, one.value) for one in Role],
        "accounts": ([("", "the whole installation")] if everything else []) + await accounts(call),
        "sites": [("", "none"), *await sites(call)],
    }


@administrators.get("/administrators/new", Right.ROLE_WRITE)
async def new_administrator(call: Call) -> Answer:
    """Who, and as what."""
    return View("administrator_new.html.j2", await _places(call))


@administrators.post("/administrators/new", Right.ROLE_WRITE, again=new_administrator)
async def add_administrator(call: Call) -> Answer:
    """With a first role; the link with which they set their password is shown once."""
    roster, form = call.desks.roster, call.form
    role, place = await _wanted(call)
    made = await roster.add_administrator(form.text("email"), role=role, name=form.text("name"), **place)
    return _told(await roster.invite(made.administrator.id))


async def _wanted(call: Call) -> tuple[Role, dict[str, str]]:
    """A role, and where; a site says of which account it is."""
    form = call.form
    if form.text("role") not in set(Role):
        raise Invalid("role", f"must be one of {', '.join(Role)}")
    account, site = form.text("account"), form.text("site")
    if site and not account:
        account = (await call.desks.search.site(site)).account
    return Role(form.text("role")), {"account": account, "site": site, "user": form.text("user")}


def _told(made: Invited) -> View:
    who = made.administrator
    about = [
        f"With it {who.email} sets a password. It works once; a new one makes this one worthless.",
        "It is shown this once. Give it to nobody else.",
    ]
    return View("told_once.html.j2", {
        "title": who.name or who.email, "what": "One-time link", "secret": made.link, "about": about,
        "back": f"/administrators/{who.id}", "onward": f"Go to {who.email}",
    })  # fmt: skip


# --- one of them ----------------------------------------------------------------------------------


@administrators.get("/administrators/{administrator}", Right.ROLE_READ)
async def show_administrator(call: Call) -> Answer:
    """Roles, second factor, what was granted for a time."""
    found = await call.desks.roster.administrator(call.place("administrator"))
    values: dict[str, object] = {
        "known": found, "one": found.administrator, "names": await _names(call, [found]),
        "base": f"/administrators/{found.administrator.id}", "words": RIGHT_WORDS, "hours": _HOURS,
        "grantable": [(one.value, RIGHT_WORDS[one]) for one in sorted(GRANTABLE)],
    }  # fmt: skip
    if call.may(Right.ROLE_WRITE):
        values |= await _places(call)
    return View("administrator.html.j2", values)


async def _ident(call: Call) -> str:
    """Whom the path names, where they can be seen."""
    return (await call.desks.roster.administrator(call.place("administrator"))).administrator.id


@administrators.post("/administrators/{administrator}/roles", Right.ROLE_WRITE, again=show_administrator)
async def give_role(call: Call) -> Answer:
    """A role more; they sign in again."""
    ident = await _ident(call)
    role, place = await _wanted(call)
    await call.desks.roster.give_role(ident, role, **place)
    return See(f"/administrators/{ident}", f"{role.value} from now on.")


@administrators.post("/administrators/{administrator}/roles/take", Right.ROLE_WRITE, again=show_administrator)
async def take_role(call: Call) -> Answer:
    """A role less; they sign in again."""
    ident = await _ident(call)
    role, place = await _wanted(call)
    await call.desks.roster.take_role(ident, role, **place)
    left = [one for one in await call.desks.roster.administrators() if one.administrator.id == ident]
    return See(f"/administrators/{ident}" if left else "/administrators", f"Not {role.value} there any more.")


@administrators.post("/administrators/{administrator}/link", Right.ROLE_WRITE, again=show_administrator)
async def invite(call: Call) -> Answer:
    """A one-time link, shown once."""
    return _told(await call.desks.roster.invite(await _ident(call)))


@administrators.post("/administrators/{administrator}/second-factor/off", Right.ROLE_WRITE, again=show_administrator)
async def take_off_factor(call: Call) -> Answer:
    """For who has lost it."""
    ident = await _ident(call)
    await call.desks.roster.take_off_totp(ident)
    return See(f"/administrators/{ident}", "The password alone is enough for them now. Their sessions have ended.")


@administrators.post("/administrators/{administrator}/grants", Right.ROLE_WRITE, again=show_administrator)
async def grant(call: Call) -> Answer:
    """A right for a time."""
    ident, form = await _ident(call), call.form
    if form.text("right") not in GRANTABLE:
        raise Invalid("right", f"must be one of {', '.join(sorted(GRANTABLE))}")
    seconds = form.number("seconds", 60, _LONGEST)
    right = Right(form.text("right"))
    await call.desks.roster.grant(ident, right, seconds=seconds, account=form.text("account"))
    return See(f"/administrators/{ident}", "Granted. It ends by itself.")


@administrators.post("/administrators/{administrator}/grants/end", Right.ROLE_WRITE, again=show_administrator)
async def end_grants(call: Call) -> Answer:
    """Before their time."""
    ident = await _ident(call)
    count = await call.desks.roster.end_grants(ident)
    return See(f"/administrators/{ident}", f"{count} grant{'' if count == 1 else 's'} ended.")


@administrators.get("/administrators/{administrator}/remove", Right.ROLE_WRITE)
async def ask_remove_administrator(call: Call) -> Answer:
    """What goes with them."""
    one = (await call.desks.roster.administrator(call.place("administrator"))).administrator
    here = f"/administrators/{one.id}"
    about = (
        "They are signed out, and their roles and keys of the API go with them. What they did stays in the audit log."
    )
    values = {"title": one.email, "about": about, "action": f"{here}/remove", "back": here, "what": "administrator"}
    return View("remove.html.j2", values)


@administrators.post("/administrators/{administrator}/remove", Right.ROLE_WRITE, again=ask_remove_administrator)
async def remove_administrator(call: Call) -> Answer:
    """With roles, sessions and keys."""
    await call.desks.roster.remove_administrator(await _ident(call))
    return See("/administrators", "They may not sign in any more.")
