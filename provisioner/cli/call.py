"""`provisioner simulate call`: what is not said comes from DATA, so that a newcomer hears it with a Mac and a code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click

from provisioner.cli.session import MAC, OK, REFUSED, Verb, device_url, open_fleet, session, writing
from provisioner.demo.cast import burnt_in
from provisioner.errors import Invalid, NotFound
from provisioner.installation import trusted_ca
from provisioner.model import Mac
from provisioner.simulator import Phone, load_persona
from provisioner.simulator.caller import call_in
from provisioner.simulator.caller_call import CODECS, Manner
from provisioner.simulator.caller_story import CallStory, as_json, as_text

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_SECONDS: Final = click.FloatRange(0, 600)
_MAKES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        **dict.fromkeys(("0004f2", "64167f", "482567"), ("poly", "VVX 411")),
        **dict.fromkeys(("9cadef", "5c838f"), ("poly", "OBi302")),
        **dict.fromkeys(("001565", "249ad8"), ("yealink", "T46S")),
        **dict.fromkeys(("805ec0", "805e0c"), ("yealink", "T54W")),
    }
)
"""A usual phone of each maker's first six digits, for a Mac that nobody has added."""


@dataclass(frozen=True, slots=True)
class Plugged:
    """Which phone it is and where it asks; empty where DATA has to say."""

    mac: Mac
    vendor: str
    model: str
    url: str
    cert: Path | None
    key: Path | None = field(repr=False)
    ca: Path | None
    insecure: bool

    def phone(self) -> Phone:
        """The simulated phone; Unusable says what is missing."""
        vendor, model = (self.vendor, self.model) if self.model else self._known()
        cert, key = (self.cert, self.key) if self.cert or self.key else _burnt_in(session().data, vendor, self.mac)
        return Phone(
            persona=load_persona(vendor, model),
            mac=self.mac,
            certificate=cert,
            key=key,
            trust=trusted_ca(session().data, self.ca, insecure=self.insecure),
            check_server=not self.insecure,
        )

    def address(self) -> str:
        """Where it fetches from."""
        return self.url or device_url(session().settings())

    def _known(self) -> tuple[str, str]:
        """As the inventory has it; a usual model of its maker for a phone that nobody has added."""
        try:
            return asyncio.run(_in_inventory(self.mac))
        except NotFound:
            found = _MAKES.get(self.mac[:6])
            if found is None or self.vendor not in ("", found[0]):
                why = f"nobody has added {self.mac.colons}, so say what it is: --vendor and --model"
                raise Invalid("model", why) from None
            return found


async def _in_inventory(mac: Mac) -> tuple[str, str]:
    async with open_fleet(session().settings()) as fleet:
        device = await fleet.device(mac)
    return device.vendor, device.model


def _burnt_in(data: Path, vendor: str, mac: Mac) -> tuple[Path | None, Path | None]:
    """A certificate of the demonstration's factory; none where there is no such factory."""
    if not (data / "demo" / vendor / "cas.pem").is_file():
        return None, None
    return burnt_in(data, vendor, mac)


@click.command("call", cls=Verb)
@click.option("--mac", type=MAC, required=True, metavar="MAC", help="The phone's own MAC.")
@click.option("--code", required=True, metavar="DIGITS", help="What is keyed; may be several words: 1234 5678 9012.")
@click.argument("words", nargs=-1, metavar="[DIGITS]...")
@click.option("--then", multiple=True, metavar="KEYS", help="Keyed at the next prompt, as it is; can be repeated.")
@click.option("--info", is_flag=True, help="Keys go by SIP INFO.")
@click.option("--rfc4733", is_flag=True, help="Keys go by RFC 4733.  [default]")
@click.option("--events", default=101, metavar="PT", help="Payload type offered for telephone-event.  [default: 101]")
@click.option("--codec", type=click.Choice(["PCMU", "PCMA"], case_sensitive=False), help="Offer this one only.")
@click.option("--barge-in", is_flag=True, help="Key while the prompt still plays.")
@click.option("--pause", type=_SECONDS, default=1.0, metavar="S", help="Silence before keying.  [default: 1]")
@click.option("--hang-up-after-success", is_flag=True, help="Hang up as soon as the last key is answered.")
@click.option("--most", type=_SECONDS, default=120.0, metavar="S", help="Longest call.  [default: 120]")
@click.option("--wait", type=_SECONDS, default=10.0, metavar="S", help="For the check-sync after it.  [default: 10]")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="What was heard, WAV.")
@click.option(
    "--dial",
    default="",
    metavar="NUMBER",
    help="Dialled by hand where no line dials by itself.  [default: as its label says]",
)
@click.option("--sip", default="", metavar="HOST:PORT", help="Where its SIP goes.  [default: its line's server]")
@click.option("--vendor", default="", metavar="VENDOR", help="poly or yealink.  [default: as the inventory has it]")
@click.option("--model", default="", metavar="MODEL", help="VVX 411, T46S, ...  [default: as the inventory has it]")
@click.option("--url", default="", metavar="URL", help="Where it fetches from.  [default: the server on --data]")
@click.option("--cert", type=_FILE, help="Its certificate.  [default: one of the demo factory's]")
@click.option("--key", type=_FILE, help="The certificate's key, PEM.")
@click.option("--ca", type=_FILE, help="CA of the server.  [default: the installation's own, if there is one]")
@click.option("--insecure", is_flag=True, help="Do not check the server's certificate.")
def simulate_call_command(
    mac: Mac,
    code: str,
    words: tuple[str, ...],
    info: bool,
    rfc4733: bool,
    save: Path | None,
    vendor: str,
    model: str,
    url: str,
    cert: Path | None,
    key: Path | None,
    ca: Path | None,
    insecure: bool,
    **manner: Any,
) -> None:
    """Boot a phone, lift its handset, key a code, and see whose it is afterwards.

    Exit code 0 when the phone is somebody's at the end, 1 when not, with the reason in words.
    """
    if info and rfc4733:
        raise click.UsageError("--info and --rfc4733: keys go one way or the other")
    if bool(vendor) != bool(model):
        raise click.UsageError("--vendor and --model are given together")
    try:
        told = _manner("".join((code, *words)), info, **manner)
        plugged = Plugged(mac, vendor, model, url, cert, key, ca, insecure)
        story = asyncio.run(call_in(plugged.phone(), plugged.address(), told, _say))
    except Invalid as error:
        raise click.UsageError(f"--{error.field}: {error.why}") from error
    _save(save, story)
    click.echo(as_json(story) if session().as_json else as_text(story))
    click.get_current_context().exit(OK if story.good else REFUSED)


def _manner(
    digits: str,
    info: bool,
    *,
    then: tuple[str, ...],
    events: int,
    codec: str | None,
    sip: str,
    **rest: Any,
) -> Manner:
    keys = "".join(one for one in digits if one not in " -")
    return Manner(
        keys=f"{keys}#" if keys else "",
        then=then,
        info=info,
        events=events,
        codecs=tuple(one for one, name in CODECS.items() if codec in (None, name)),
        server=sip,
        **rest,
    )


def _save(path: Path | None, story: CallStory) -> None:
    if path is None:
        return
    with writing(path, "--save"):
        path.write_bytes(story.wav)


def _say(text: str) -> None:
    """What happens, for somebody who looks on."""
    if sys.stderr.isatty():
        click.echo(text, err=True)
