"""Activation codes on the command line: each command is one use-case; digits are printed only where asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from provisioner.activation.codes import LIVES, LONGEST_LIFE, SHORTEST_LIFE, Issued
from provisioner.activation.letters import CodeLetters
from provisioner.activation.sheet import sheet, sheet_file
from provisioner.cli.cures import told
from provisioner.cli.session import MAC, OK, REFUSED, Nouns, session, with_desk
from provisioner.codes import ActivationCode, CodeState, grouped
from provisioner.desk import counted
from provisioner.model import Mac
from provisioner.progress import Progress
from provisioner.store.outbox import Message
from provisioner.terminal import Shown, as_row, moment

_SPAN: Final = re.compile(r"([0-9]{1,9})\s*([smhd]?)")
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}

with_codes = with_desk(CodeLetters)


class SpanType(click.ParamType[float]):
    """A span of time: ``7d``, ``12h``, ``90m`` or seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """In seconds."""
        found = _SPAN.fullmatch(str(value).strip().lower())
        if found is None:
            self.fail(f"{str(value)[:40]!r} is no span of time: write 7d, 12h, 90m or seconds", param, ctx)
        return float(found[1]) * _SECONDS[found[2]]


class LifeType(SpanType):
    """A span that a code may live: a wrong one is wrong usage, whatever else stands in the way."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """In seconds."""
        seconds = super().convert(value, param, ctx)
        if not SHORTEST_LIFE <= seconds <= LONGEST_LIFE:
            self.fail(f"{str(value)[:40]!r}: {LIVES}", param, ctx)
        return seconds


_EXTENSION: Final = click.argument("extension")
_ACCOUNT: Final = click.option("--account", default="", metavar="ACCOUNT", help="Whose extension (name or id).")
_LIFE: Final = click.option(
    "--life",
    type=LifeType(),
    metavar="SPAN",
    help="How long it can be used: 12h, 7d; 1 h to 90 d.  [default: activation.life]",
)


_MAIL: Final = click.option(
    "--mail/--no-mail",
    default=None,
    help="Send it to the extension's user.  [default: as the account's policy says, else mail.on_issue]",
)


def _ties(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a code may be tied to."""
    for option in (
        click.option("--replace", is_flag=True, help="Take the extension away from the phone that has it."),
        click.option("--site", default="", metavar="SITE", help="Only for a phone of this site (name or id)."),
        click.option("--mac", type=MAC, metavar="MAC", help="Only for this phone."),
        click.option("--model", default="", metavar="MODEL", help="Only for a phone of this model."),
    ):
        command = option(command)
    return command


@click.group(cls=Nouns)
def code() -> None:
    """Activation codes: keyed into a new phone they make it an extension's."""


@code.command("issue")
@_EXTENSION
@_ACCOUNT
@_LIFE
@_MAIL
@_ties
@with_codes
async def code_issue(codes: CodeLetters, /, extension: str, **asked: Any) -> object:
    """Make a code for EXTENSION (number or id) and print it with the time until which it can be used."""
    return _told(await codes.issue(extension, **asked))


@code.command("check")
@_EXTENSION
@_ACCOUNT
@_ties
@with_codes
async def code_check(codes: CodeLetters, /, extension: str, **asked: Any) -> object:
    """Say what stands in the way of such a code, if anything does; exit code 1 when something does."""
    rows = [
        {"check": one.name, "ok": one.error is None, "reason": one.error.kind if one.error else "",
         "why": told(one.error)}
        for one in await codes.check(extension, **asked)
    ]  # fmt: skip
    return Shown(rows, exit_code=OK if all(row["ok"] for row in rows) else REFUSED)


@code.command("reveal")
@_EXTENSION
@_ACCOUNT
@with_codes
async def code_reveal(codes: CodeLetters, extension: str, account: str) -> object:
    """Print the code of EXTENSION again; that it was read is an event."""
    return _told(await codes.reveal(extension, account=account))


@code.command("reissue")
@_EXTENSION
@_ACCOUNT
@_LIFE
@_MAIL
@with_codes
async def code_reissue(
    codes: CodeLetters, extension: str, account: str, life: float | None, mail: bool | None
) -> object:
    """Replace the code of EXTENSION by another with the same ties; the old one stops working.

    Who was mailed the old one is mailed the new one, unless --no-mail is given.
    """
    return _told(await codes.reissue(extension, account=account, life=life, mail=mail))


@code.command("mail")
@_EXTENSION
@_ACCOUNT
@with_codes
async def code_mail(codes: CodeLetters, extension: str, account: str) -> object:
    """Send the code of EXTENSION to its user, once more where it was sent before."""
    mailed = await codes.mail(extension, account=account)
    data = {"extension": extension, "message": mailed.ident, "to": mailed.to}
    return Shown(data, f"the code of extension {extension} will be mailed to {mailed.to}")


@code.command("sheet")
@click.argument("extensions", metavar="EXTENSION...", nargs=-1, required=True)
@_ACCOUNT
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The page.")
@click.option("--language", default="", metavar="TAG", help="en, de, ...  [default: the account's, or mail.language]")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@with_codes
async def code_sheet(
    codes: CodeLetters, extensions: tuple[str, ...], account: str, out: Path, language: str, force: bool
) -> object:
    """Print the codes of these EXTENSIONs: an HTML page of cards, one a person, that a browser prints.

    That they were read is an event for each. Only you can read FILE.
    """
    with sheet_file(out, force=force) as file:
        cards = await codes.cards(extensions, account=account)
        file.write(sheet(session().settings(), cards, language))
    text = f"{out} has {counted(len(cards), 'code')}: print it, then remove it"
    return Shown({"cards": len(cards), "file": str(out)}, text)


@code.command("revoke")
@_EXTENSION
@_ACCOUNT
@with_codes
async def code_revoke(codes: CodeLetters, extension: str, account: str) -> object:
    """Take the code of EXTENSION back."""
    one = await codes.revoke(extension, account=account)
    return Shown(one, f"the code of extension {one.number} does not work any more")


@code.command("list")
@_ACCOUNT
@click.option("--state", type=click.Choice([one.value for one in CodeState]), help="Only in this state.")
@with_codes
async def code_list(codes: CodeLetters, account: str, state: str | None) -> object:
    """Codes without their digits, the newest first, and how far the phones are that used one today."""
    found = await codes.codes(account=account, state=CodeState(state) if state else None)
    arrivals, mails = await codes.arrivals(found), await codes.mails(found)
    rows = [_row(one, arrivals.get(one.id), mails.get(one.id)) for one in found]
    data = [
        as_row(one)
        | {"phone": progress.stage.value if (progress := arrivals.get(one.id)) else ""}
        | {"mail": mail.state.value if (mail := mails.get(one.id)) else ""}
        for one in found
    ]
    return Shown(data, rows=rows)


def _row(one: ActivationCode, progress: Progress | None, mail: Message | None) -> dict[str, object]:
    tied = [one.model, Mac(one.mac).colons if one.mac else "", one.site]
    return {
        "number": one.number,
        "state": one.state.value,
        "created": one.created,
        "expires": one.expires,
        "only for": ", ".join(word for word in tied if word),
        "mail": mail.state.value if mail else "",
        "used by": Mac(one.used_by).colons if one.used_by else "",
        "phone": progress.stage.value if progress else "",
        "what to do": progress.hint if progress else "",
    }


@code.command("forgive")
@click.argument("mac", type=MAC)
@with_codes
async def code_forgive(codes: CodeLetters, mac: Mac) -> object:
    """Let the device with this MAC try again, which was locked out for wrong codes."""
    cleared = await codes.forgive(mac)
    text = f"{mac.colons} may try again" if cleared else f"{mac.colons} was not locked out"
    return Shown({"mac": mac, "cleared": cleared}, text)


def _told(one: Issued) -> Shown:
    about, mailed = one.about, one.mailed
    data = {
        "code": grouped(one.code), "digits": one.code, "id": about.id, "extension": about.extension,
        "number": about.number, "account": about.account, "expires": about.expires, "vendor": about.vendor,
        "model": about.model, "mac": about.mac, "site": about.site, "replaces": about.replaces,
        "mailed_to": mailed.to, "message": mailed.ident, "not_mailed": mailed.why_not,
    }  # fmt: skip
    lines = [grouped(one.code), f"for extension {about.number}, until {moment(about.expires)}"]
    lines += [f"will be mailed to {mailed.to}"] if mailed.to else []
    lines += [f"not mailed: {mailed.why_not}"] if mailed.why_not else []
    return Shown(data, "\n".join(lines))
