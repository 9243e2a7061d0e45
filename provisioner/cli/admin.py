"""Who may sign in to the administration, on the command line: administrators, roles, grants, and a way back in."""

from __future__ import annotations

from typing import Final

import click

from provisioner.cli.session import Nouns, password_of, session, with_desk, with_password
from provisioner.errors import Invalid
from provisioner.mail.reset import console_url
from provisioner.passwords import Passwords
from provisioner.roles import GRANTABLE, Right, Role
from provisioner.roster import Invited, Known, Roster
from provisioner.sign_in_rules import check_password, login_of
from provisioner.store.administrators import HeldRole
from provisioner.terminal import Shown, moment

_EMAIL: Final = click.argument("email")
_ROLES: Final = click.Choice([one.value for one in Role])
_ROLE: Final = click.argument("role", type=_ROLES)
_ACCOUNT: Final = click.option(
    "--account", default="", metavar="ACCOUNT", help="Name or id; without it in all accounts."
)
_SITE: Final = click.option("--site", default="", metavar="SITE", help="Only at this site of the account.")
_USER: Final = click.option("--user", default="", metavar="USER", help="The user that an employee is.")
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}

with_roster = with_desk(Roster, vendors=False)


@click.group(cls=Nouns)
def admin() -> None:
    """Administrators: who may sign in, in which roles, and with which rights for a time."""


@admin.command("create")
@_EMAIL
@click.option("--role", type=_ROLES, default=Role.OWNER.value, show_default=True, help="As what.")
@click.option("--name", default="", help="What people call them.")
@_ACCOUNT
@_SITE
@_USER
@with_password
@with_roster
async def admin_create(
    desk: Roster,
    email: str,
    role: str,
    name: str,
    account: str,
    site: str,
    user: str,
    password_stdin: bool,
    ask_password: bool,
) -> object:
    """Let EMAIL sign in: prints a one-time link to set a password, unless one is given."""
    password = _password(email, password_stdin, ask_password)
    known = await desk.add_administrator(email, role=Role(role), name=name, account=account, site=site, user=user)
    login = known.administrator.email
    if password:
        await _set(desk, login, password)
        return Shown(_plain(known), f"{login} can sign in as {role}")
    return _invited(await desk.invite(login), f"{login} is {role} now.")


@admin.command("url")
def admin_url() -> object:
    """Where the console is reached, and below api/v1 the API: as the running server has bound it, else as it is set."""
    url = console_url(session().settings())
    return Shown({"url": url}, url)


@admin.command("list")
@with_roster
async def admin_list(desk: Roster) -> object:
    """The administrators with their roles and what they are granted for a time."""
    found = await desk.administrators()
    rows = [
        {"login": one.administrator.email, "name": one.administrator.name, "roles": ", ".join(map(_told, one.roles)),
         "granted": ", ".join(f"{grant.right.value} until {moment(grant.until)}" for grant in one.grants),
         "second factor": one.administrator.second_factor, "last": one.administrator.last_at}
        for one in found
    ]  # fmt: skip
    return Shown([_plain(one) for one in found], rows=rows)


@admin.command("remove")
@_EMAIL
@with_roster
async def admin_remove(desk: Roster, email: str) -> object:
    """Remove EMAIL with all sessions and keys; the last owner stays."""
    await desk.remove_administrator(email)
    return Shown({"removed": email}, f"removed {email}")


@admin.command("reset")
@_EMAIL
@with_password
@with_roster
async def admin_reset(desk: Roster, email: str, password_stdin: bool, ask_password: bool) -> object:
    """A one-time link for EMAIL to set another password, or set it here; a second factor stays."""
    if password := _password(email, password_stdin, ask_password):
        await _set(desk, email, password)
        return Shown({"reset": email}, f"{email} has another password, and is signed out everywhere")
    return _invited(await desk.invite(email), "The password of today works until the link is used.")


@admin.command("role")
@_EMAIL
@_ROLE
@_ACCOUNT
@_SITE
@_USER
@click.option("--take", is_flag=True, help="Take the role away instead of giving it.")
@with_roster
async def admin_role(desk: Roster, email: str, role: str, account: str, site: str, user: str, take: bool) -> object:
    """Give EMAIL a ROLE, or take it; they have to sign in again."""
    where = {"account": account, "site": site, "user": user}
    if take:
        await desk.take_role(email, Role(role), **where)
        return Shown({"taken": role, "from": email}, f"{email} is not {role} there any more")
    return Shown(await desk.give_role(email, Role(role), **where), f"{email} is {role} there now")


@admin.command("totp-off")
@_EMAIL
@with_roster
async def admin_totp_off(desk: Roster, email: str) -> object:
    """Take the second factor off EMAIL, for somebody who has lost it; they are signed out everywhere."""
    await desk.take_off_totp(email)
    return Shown({"second_factor": False, "of": email}, f"{email} signs in with the password alone")


@admin.command("grant")
@_EMAIL
@click.argument("right", type=click.Choice(sorted(one.value for one in GRANTABLE)))
@click.option("--for", "span", default="30m", show_default=True, metavar="TIME", help="How long: 90s, 30m, 8h.")
@_ACCOUNT
@click.option("--end", is_flag=True, help="End what was granted before its time.")
@with_roster
async def admin_grant(desk: Roster, email: str, right: str, span: str, account: str, end: bool) -> object:
    """Grant EMAIL a RIGHT for a time that their role does not carry by itself."""
    if end:
        count = await desk.end_grants(email, Right(right))
        return Shown({"ended": count}, f"ended {count}")
    one = await desk.grant(email, Right(right), seconds=_seconds(span), account=account)
    return Shown(one, f"{email} has {right} until {moment(one.until)}")


def _seconds(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdigit():
        raise Invalid("for", "must be a number with s, m or h behind it, such as 30m")
    return int(number) * _UNITS[unit]


def _password(email: str, from_stdin: bool, ask: bool) -> str:
    """What was typed or piped in; empty for a link. Checked before anything is changed."""
    if not (from_stdin or ask):
        return ""
    password = password_of(from_stdin=from_stdin, ask=ask, twice=True)
    check_password(password, login_of(email), session().settings().login_password_least)
    return password


async def _set(desk: Roster, email: str, password: str) -> None:
    await desk.set_password(email, password, await Passwords(session().settings()).hash(password))


def _invited(one: Invited, said: str) -> Shown:
    text = f"{said}\nOpen this once, before {moment(one.expires)}, to set a password:\n{one.link}"
    return Shown({"login": one.administrator.email, "link": one.link, "expires": one.expires}, text)


def _told(role: HeldRole) -> str:
    where = "/".join(part for part in (role.account or "all accounts", role.site, role.user) if part)
    return f"{role.role.value} ({where})"


def _plain(known: Known) -> object:
    return {"administrator": known.administrator, "roles": known.roles, "grants": known.grants}
