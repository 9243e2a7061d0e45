"""Switches on the command line: which there are, where a phone is plugged in, its voice VLAN, and its power."""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Concatenate, Final, ParamSpec

import click

from provisioner.cli.session import MAC, OK, REFUSED, Nouns, acting, said, session
from provisioner.cycle_states import CYCLE_WORDS, CycleState
from provisioner.errors import Invalid
from provisioner.model import Mac
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.people import names_of
from provisioner.store.power_cycles import PowerCycle
from provisioner.store.switches import Switch
from provisioner.switches import credentials
from provisioner.switches.credentials import Auth, Credential, Privacy
from provisioner.switches.cycler import Cycler
from provisioner.switches.engine import close_shared
from provisioner.switches.objections import warnings
from provisioner.switches.oids import dotted
from provisioner.switches.ports import Rule, read_map
from provisioner.switches.search import Found
from provisioner.switches.switches import LONGEST, SHORTEST, USUAL, Switches
from provisioner.switches.values import Port, VoiceVlan
from provisioner.terminal import Shown, console
from provisioner.vendors import drivers

P = ParamSpec("P")

_RULE: Final = click.option(
    "--rule",
    type=click.Choice([one.value for one in Rule]),
    help="How PoE ports are numbered; confirmed: only as `switch confirm` says.",
)
_TERMINATED: Final = 128 + signal.SIGTERM
_NAME: Final = click.argument("name")
_MAC: Final = click.argument("mac", type=MAC)
_AUTHS: Final = click.Choice([one.value for one in Auth])
_PRIVACIES: Final = click.Choice([one.value for one in Privacy])


class Hands:
    """What a command works with."""

    def __init__(self, store: Store, settings: Settings) -> None:
        known = {one.manifest.name: one for one in drivers(settings.data / "templates")}
        self.desk = Switches(store, known, settings, actor=acting())
        self.cycler = Cycler(store, settings)
        self._store = store

    async def told(self, found: Switch | Sequence[Switch]) -> Shown:
        """Without what opens them, with what people call their accounts and sites."""
        several = [found] if isinstance(found, Switch) else found
        async with self._store.reading() as connection:
            names = await names_of(connection, {one.account for one in several} | {one.site for one in several})
        rows = [_row(one) for one in several]
        return Shown(rows[0] if isinstance(found, Switch) else rows, names=names)


def with_switches(function: Callable[Concatenate[Hands, P], Awaitable[object]]) -> Callable[P, object]:
    """Let a coroutine that takes the use-cases of switches be a command; first of all, power is brought back."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> object:
        async def call() -> object:
            configured = session().settings()
            task = asyncio.current_task()
            assert task is not None, "this is one"
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # a port may be off
            try:
                async with Store.of(configured) as store:
                    hands = Hands(store, configured)
                    try:
                        for one in await hands.cycler.resume():
                            click.echo(_resumed(one), err=True)
                        return await function(hands, *args, **kwargs)
                    finally:
                        await hands.cycler.close()
            finally:
                await close_shared()

        try:
            return asyncio.run(call())
        except asyncio.CancelledError:
            raise click.exceptions.Exit(_TERMINATED) from None

    return command


def _resumed(one: PowerCycle) -> str:
    if one.ended is None:
        return f"Warning: power of {one.port} is not back yet (power cycle {one.id}): it is tried again"
    return f"power of {one.port} was brought back: {one.result or one.state.value}"


def credential_options(function: Callable[P, object]) -> Callable[P, object]:
    """Both credentials, each of them v2c or v3."""
    for prefix, what in (("write-", "may change something"), ("", "reads")):
        for option in _options(prefix, what):
            function = option(function)
    return function


def _options(prefix: str, what: str) -> list[Callable[[Callable[P, object]], Callable[P, object]]]:
    return [
        click.option(f"--{prefix}privacy-key", metavar="KEY", default="", help=f"Of the user that {what}."),
        click.option(f"--{prefix}privacy", type=_PRIVACIES, default="none", help=f"Of the user that {what}."),
        click.option(f"--{prefix}auth-key", metavar="KEY", default="", help=f"Of the user that {what}."),
        click.option(f"--{prefix}auth", type=_AUTHS, default="none", help=f"Of the user that {what}."),
        click.option(f"--{prefix}user", metavar="USER", default="", help=f"SNMPv3 user that {what}."),
        click.option(
            f"--{prefix}community", metavar="WORD", default="", help=f"SNMPv2c community that {what}; - reads stdin."
        ),
    ]


def _credential(given: Mapping[str, Any], prefix: str = "") -> Credential | None:
    """What the options say; None where they say nothing. A dash stands for the next line of stdin."""
    name, word = given[f"{prefix}user"], given[f"{prefix}community"]
    if name and word:
        raise Invalid(f"{prefix}user".replace("_", "-"), "and a community: a credential is one of them")
    if word:
        return credentials.community(_typed(word, f"{prefix}community"))
    auth, privacy = Auth(given[f"{prefix}auth"]), Privacy(given[f"{prefix}privacy"])
    keys = [_typed(given[f"{prefix}{what}"], f"{prefix}{what}") for what in ("auth_key", "privacy_key")]
    if name:
        return credentials.user(name, auth, keys[0], privacy, keys[1])
    if any(keys) or auth is not Auth.NONE or privacy is not Privacy.NONE:
        raise Invalid(f"{prefix}user".replace("_", "-"), "is not given, and keys or algorithms of it are")
    return None


def _typed(secret: str, what: str) -> str:
    """As given; a dash is asked for where somebody sits, and read where a script does."""
    if secret != "-":  # noqa: S105  # the word for stdin
        return secret
    if sys.stdin.isatty():
        return str(click.prompt(what.replace("_", " ").capitalize(), hide_input=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


@click.group("switch", cls=Nouns)
def switch() -> None:
    """Switches: where a phone is plugged in, which VLAN it uses, and its power."""


@switch.command("add")
@_NAME
@click.argument("address")
@click.option("--account", required=True, help="Whose it is (name or id).")
@click.option("--site", default="", help="Where it stands.  [default: phones of all sites are looked for on it]")
@click.option("--port", type=click.IntRange(1, 65535), default=161, show_default=True, help="UDP port.")
@_RULE
@credential_options
@with_switches
async def switch_add(
    hands: Hands, /, name: str, address: str, account: str, site: str, port: int, rule: str | None, **given: Any
) -> object:
    """Add the switch NAME at ADDRESS (host name, IPv4 or IPv6); `switch test NAME` says whether all is right."""
    read = _credential(given)
    if read is None:
        raise click.UsageError("what reads the switch? --community WORD (v2c), or --user NAME with keys (v3)")
    made = await hands.desk.add_switch(
        name, account=account, address=address, site=site, port=port, read=read, write=_credential(given, "write_"),
        rule=Rule(rule or Rule.AUTO),
    )  # fmt: skip
    return Shown(_row(made), f"added switch {made.name} ({made.id}); `provisioner switch test {made.name}` tries it")


def _row(one: Switch) -> dict[str, object]:
    ports = {str(interface): dotted(port) for interface, port in read_map(one.ports).items()}
    return {
        "id": one.id, "name": one.name, "address": one.address, "port": one.port, "account": one.account,
        "site": one.site, "rule": one.rule, "writable": one.writable, "confirmed": ports, "created": one.created,
    }  # fmt: skip


@switch.command("list")
@click.option("--account", default="", help="Only those of this account.")
@with_switches
async def switch_list(hands: Hands, account: str) -> object:
    """The switches, without what opens them."""
    return await hands.told(await hands.desk.switches(account=account))


@switch.command("show")
@_NAME
@with_switches
async def switch_show(hands: Hands, name: str) -> object:
    """One switch, by its name or id, without what opens it."""
    return await hands.told(await hands.desk.switch(name))


@switch.command("set")
@_NAME
@click.option("--rename", metavar="NAME", help="Another name.")
@click.option("--address", help="Another address.")
@click.option("--port", type=click.IntRange(1, 65535), help="Another UDP port.")
@_RULE
@click.option("--read-only", is_flag=True, help="Forget the credential that may change something.")
@credential_options
@with_switches
async def switch_set(
    hands: Hands, /, name: str, rename: str | None, address: str | None, port: int | None, rule: str | None,
    read_only: bool, **given: Any,
) -> object:  # fmt: skip
    """Change what is known of the switch NAME, or what opens it."""
    if not any(said(one) for one in click.get_current_context().params if one != "name"):
        raise click.UsageError("nothing is to be changed: give an option")
    found = await hands.desk.change_switch(
        name, name=rename, address=address, port=port, rule=Rule(rule) if rule else None, read=_credential(given),
        write=_credential(given, "write_"), forget_write=read_only,
    )  # fmt: skip
    return await hands.told(found)


@switch.command("remove")
@_NAME
@with_switches
async def switch_remove(hands: Hands, name: str) -> object:
    """Forget a switch, with what opens it."""
    found = await hands.desk.remove_switch(name)
    return Shown({"removed": found.id}, f"switch {found.name} is not known any more")


@switch.command("test")
@_NAME
@with_switches
async def switch_test(hands: Hands, name: str) -> object:
    """Say which of address, community, user, auth and privacy of the switch NAME is wrong; it changes nothing there."""
    told = await hands.desk.test_switch(name)
    lines = [f"{'ok   ' if one.good else 'WRONG'} {one.step}: {one.words}" for one in told.findings]
    return Shown(told, "\n".join(lines), exit_code=OK if told.good else REFUSED)


@switch.command("confirm")
@_NAME
@click.argument("words", metavar="PORT [GROUP.PORT]", nargs=-1)
@click.option("--interface", type=int, metavar="N", help="Its ifIndex, instead of PORT.")
@with_switches
async def switch_confirm(hands: Hands, name: str, words: tuple[str, ...], interface: int | None) -> object:
    """Say that PORT of the switch NAME has this PoE port; without one, that it is not known.

    PORT is its name, as the switch says it; a number that is no port's name is its ifIndex.
    """
    port, poe, *more = (*(words if interface is None else ("", *words)), "", "")
    if any(more) or (interface is None and not port):
        raise Invalid(
            "port", "must be one port's name, or --interface with its ifIndex; behind it GROUP.PORT or nothing"
        )
    if interface is None:
        interface = await hands.desk.interface_named(name, port)
    found = await hands.desk.confirm_port(name, interface, poe)
    told = f"interface {interface} of {found.name} has PoE port {poe}" if poe else f"interface {interface}: not known"
    return Shown(_row(found), told)


# --- phones -----------------------------------------------------------------------------------------------------


@switch.command("find")
@_MAC
@with_switches
async def switch_find(hands: Hands, mac: Mac) -> object:
    """Ask the switches of its site where the phone MAC is plugged in."""
    found = await hands.desk.find_port(mac)
    return Shown(document(found), "\n".join(_lines(found)), exit_code=OK if found.port else REFUSED)


def document(found: Found) -> dict[str, object]:
    """For scripts."""
    return {
        "mac": found.mac, "what": found.words, "port": _port(found.port) if found.port else None,
        "seen_on_the_way": [f"{one.switch} {one.name}" for one in found.on_the_way],
        "asked": found.asked, "failed": [{"switch": name, "why": why} for name, why in found.failed],
    }  # fmt: skip


def _port(one: Port) -> dict[str, object]:
    return {
        "switch": one.switch, "name": one.name, "alias": one.alias, "interface": one.if_index, "link": one.link,
        "vlans": one.vlans, "native_vlan": one.native or None, "tagged_vlans": sorted(one.tagged), "macs": one.macs,
        "others": one.others, "offered": [_vlan(vlan) for vlan in one.offered],
        "used": _vlan(one.used) if one.used else None, "neighbour": one.neighbour.words if one.neighbour else None,
        "inventory": one.inventory, "uplink": one.uplink, "oid": dotted(one.seen),
        "poe": one.poe and {"port": dotted(one.poe.index), "state": one.poe.words, "known_by": one.poe.mapped},
    }  # fmt: skip


def _vlan(one: VoiceVlan) -> dict[str, object]:
    return {"vlan": one.vlan, "tagged": one.tagged, "priority": one.priority, "dscp": one.dscp, "by": one.by}


def _lines(found: Found) -> list[str]:
    lines = [found.words]
    if (port := found.port) is not None:
        lines += [f"  {name:<10} {value}" for name, value in _said(port) if value]
    lines += [f"  on the way {one.switch} {one.name}" for one in found.on_the_way]
    return lines + _silent(found)


def _silent(found: Found) -> list[str]:
    return [f"  no answer: {name}: {why}" for name, why in found.failed]


def _said(port: Port) -> list[tuple[str, str]]:
    offered = " and ".join(f"{one.vlan} by {one.by.upper()}" for one in port.offered)
    poe = f"{port.poe.words} (PoE port {dotted(port.poe.index)}, {port.poe.mapped})" if port.poe else "not known"
    return [
        ("port", f"{port.name} {port.alias}".strip()), ("link", port.link),
        ("VLANs", ", ".join(map(str, port.vlans))), ("offered", offered),
        ("used", str(port.used.vlan) if port.used else ""),
        ("neighbour", port.neighbour.words if port.neighbour else ""),
        ("Macs", "too many to count" if port.macs is None else str(port.macs)), ("power", poe),
    ]  # fmt: skip


@switch.command("check-vlan")
@_MAC
@with_switches
async def switch_check_vlan(hands: Hands, mac: Mac) -> object:
    """Compare the voice VLAN that is offered to the phone MAC, the one it uses, and where it is seen: one verdict."""
    report = await hands.desk.check_vlan(mac)
    if (check := report.check) is None:
        return Shown({"verdict": None, **document(report.found)}, "\n".join(_lines(report.found)), exit_code=REFUSED)
    cure = f"\n{check.cure}" if check.cure else ""
    data = {"verdict": check.verdict, "why": check.why, "cure": check.cure, "offered": check.offered}
    data |= {"used": check.used, "seen": check.seen}
    silent = "".join(f"\n{line}" for line in _silent(report.found))
    return Shown(data, f"{check.verdict.value}: {check.why}{cure}{silent}", exit_code=OK if check.good else REFUSED)


@switch.command("power-cycle")
@_MAC
@click.option(
    "--seconds", type=click.FloatRange(SHORTEST, LONGEST), default=USUAL, show_default=True, help="How long it is off."
)
@with_switches
async def switch_power_cycle(hands: Hands, mac: Mac, seconds: float) -> object:
    """Take the power from the phone MAC for a minute: what unplugging it does, from here.

    Nothing is switched off where it is not certain which PoE port it is, on an uplink, or without a second credential.
    Power comes back in every case: this command sees to it, the server where this command was killed.
    """
    found = await hands.desk.find_port(mac)
    for warning in warnings(found.port) if found.port else []:
        console(stderr=True).print(f"Note: {warning}", soft_wrap=True)
    asked = await hands.desk.power_cycle(mac, seconds=seconds, owner=hands.cycler.owner)
    done = await hands.cycler.run(asked.id)
    return _cycled(done or asked)


def _cycled(one: PowerCycle) -> Shown:
    text = f"{one.port or one.mac.colons}: {CYCLE_WORDS[one.state]}"
    text += f": {one.result}" if one.result else ""
    return Shown(one, text, exit_code=OK if one.state is CycleState.DONE else REFUSED)


@switch.command("power-cycles")
@click.argument("ident", metavar="[ID]", type=click.IntRange(min=1), required=False)
@click.option("--mac", type=MAC, help="Only of this phone.")
@click.option("--switch", "name", default="", metavar="NAME", help="Only of this switch.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many.")
@click.option("--restored", is_flag=True, help="Somebody has switched the port of ID on at the switch: try no more.")
@with_switches
async def switch_power_cycles(
    hands: Hands, ident: int | None, mac: Mac | None, name: str, limit: int, restored: bool
) -> object:
    """Whose power was taken, by whom, and what came of it, the newest first; or the one with the number ID."""
    if restored:
        if ident is None:
            raise click.UsageError("which one? Give the ID of the power cycle")
        done = await hands.desk.restored_by_hand(ident)
        return Shown(done, f"power cycle {done.id}: {done.result}")
    if ident:
        return _cycled(await hands.desk.cycle(ident))
    found = await hands.desk.cycles(mac=mac, switch=name, limit=limit)
    columns = ("id", "mac", "port", "state", "asked_at", "ended", "actor", "cause", "result")
    return Shown(found, columns=columns)


@switch.command("allow-power")
@click.argument("site")
@click.option("--off", is_flag=True, help="Not any more.")
@click.option("--ask", is_flag=True, help="Only say whether it is so.")
@with_switches
async def switch_allow_power(hands: Hands, site: str, off: bool, ask: bool) -> object:
    """Let the phones of SITE that a resync does not reach be switched off for a minute by themselves."""
    allowed = await (hands.desk.power_allowed(site) if ask else hands.desk.allow_power(site, allowed=not off))
    told = "may be switched off by themselves" if allowed else "are switched off by nobody but an administrator"
    return Shown({"site": site, "allowed": allowed}, f"phones of {site} that a resync does not reach {told}")
