"""Settings in layers, and what a device makes of them: layer, render and diff."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from provisioner.cli.revisions import CANARY, REVERTING, SCOPE, YES, LayersDesk, told, with_layers
from provisioner.cli.session import MAC, Nouns, Verb, names_in, previewed, with_fleet
from provisioner.errors import Invalid, NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.model import ConfigLayer, Mac, Scope
from provisioner.neutral import DIAL_RULES, KEYS, SETTINGS
from provisioner.preview import Masked, Preview, difference, written
from provisioner.rehearsal import LayerChange
from provisioner.terminal import Shown, as_row

KEY = click.argument("key", default="")
REVEAL = click.option("--reveal", is_flag=True, help="Print secrets; that they were revealed is an event.")


@click.group(cls=Nouns)
def layer() -> None:
    """Settings of one scope; a later scope overrides an earlier one.

    Scopes in order: defaults, vendor, model, account, site, device. KEY is the vendor, VENDOR/MODEL, the account,
    the site or the MAC; defaults has none.
    """


@dataclass(frozen=True, slots=True)
class NeutralSetting:
    """One row of `provisioner layer settings`."""

    name: str
    unit: str
    default: str
    per_line: bool
    help: str


@layer.command("settings")
def layer_settings() -> object:
    """All neutral settings with unit, default and meaning."""
    return [
        NeutralSetting(one.name, one.unit, written(one.default), one.per_line, one.help) for one in SETTINGS.values()
    ]


@layer.command("set")
@SCOPE
@KEY
@click.argument("entries", nargs=-1, metavar="NAME=VALUE...")
@click.option("--raw", multiple=True, metavar="NAME=VALUE", help="A vendor's own parameter; may be given often.")
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="TOML with NAME = VALUE.")
@YES
@CANARY
@with_layers
async def layer_set(
    desk: LayersDesk,
    scope: str,
    key: str,
    entries: Sequence[str],
    raw: Sequence[str],
    file: Path | None,
    yes: bool,
    canary: float | None,
) -> object:
    """Set NAME=VALUE entries in a layer; the others of the layer stay.

    A VALUE that is JSON (a list of keys, for instance) is taken as such: 'keys=[{"position": 1, "kind": "line"}]'.
    For scope defaults leave KEY out. Where many phones are concerned it asks, with what some of them would get.
    """
    key, entries = _without_key(scope, key, entries)
    values = (_read(file) if file else {}) | {name: _loose(name, value) for name, value in map(_pair, entries)}
    if not values and not raw:
        raise click.UsageError("nothing to set: give NAME=VALUE, --raw NAME=VALUE or --file")
    wanted = await desk.layers.rehearse_layer(Scope(scope), key, values, dict(map(_pair, raw)))
    return await _changed(desk, wanted, yes, canary)


@layer.command("unset")
@SCOPE
@KEY
@click.argument("names", nargs=-1, metavar="NAME...")
@YES
@CANARY
@with_layers
async def layer_unset(
    desk: LayersDesk, scope: str, key: str, names: Sequence[str], yes: bool, canary: float | None
) -> object:
    """Take entries out of a layer, neutral or raw; for scope defaults leave KEY out."""
    key, names = _without_key(scope, key, names)
    if not names:
        raise click.UsageError("nothing to unset: give the NAMEs")
    return await _changed(desk, await desk.layers.rehearse_layer(Scope(scope), key, unset=names), yes, canary)


async def _changed(desk: LayersDesk, wanted: LayerChange, yes: bool, canary: float | None) -> Shown:
    found = await desk.layers.change_layer(
        wanted.scope, wanted.key, wanted.values, wanted.raw, sorted(wanted.unset),
        confirm=await desk.confirmed(wanted, yes), canary=canary,
    )  # fmt: skip
    for line in told(found):
        click.echo(line, err=True)
    names = await names_in(Fleet(desk.store, desk.known), found.layer)
    return layer_rows([found.layer], names)


for _word in REVERTING:
    layer.add_command(_word)


@layer.command("show")
@SCOPE
@KEY
@with_fleet
async def layer_show(fleet: Fleet, scope: str, key: str) -> object:
    """What one layer says, secrets masked."""
    found = await fleet.layer(Scope(scope), key)
    return layer_rows([found], await names_in(fleet, found))


@layer.command("list")
@with_fleet
async def layer_list(fleet: Fleet) -> object:
    """The layers that say anything."""
    found = await fleet.layers()
    return layer_rows(found, await names_in(fleet, found))


def layer_rows(layers: Sequence[ConfigLayer], names: Mapping[str, str] | None = None) -> Shown:
    """One row an entry for people, the layers as they are for scripts."""
    rows = [
        {"scope": one.scope, "key": one.key, "name": name, "value": written(Masked().value(name, value))}
        for one in layers
        for name, value in (*one.values.items(), *one.raw.items())
    ]
    return Shown(_jsonable(layers), rows=rows, names=names or {})


def _jsonable(layers: Sequence[ConfigLayer]) -> list[dict[str, object]]:
    return [
        {
            "scope": one.scope,
            "key": one.key,
            "values": {name: Masked().value(name, value) for name, value in one.values.items()},
            "raw": {name: Masked().value(name, value) for name, value in one.raw.items()},
        }
        for one in layers
    ]


def _without_key(scope: str, key: str, words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The defaults have no key, so what stands in its place is the first entry."""
    if scope == Scope.DEFAULTS:
        return "", ((key, *words) if key else words)
    if not key or "=" in key:
        raise click.UsageError(f"the KEY is missing: which {scope} is meant stands before the first NAME")
    return key, words


def _pair(entry: str) -> tuple[str, str]:
    name, equals, value = entry.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{entry!r} is not NAME=VALUE")
    return name.strip(), value


def _loose(name: str, value: str) -> object:
    """Lists and tables are JSON; everything else is the text itself."""
    if value[:1] not in {"[", "{"}:
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        if name == KEYS.name or (name == DIAL_RULES.name and '"' in value):  # a rule may begin with [2-8]
            raise Invalid(name, f"is not valid JSON: {error}") from error
        return value  # an IPv6 address, [2001:db8::1]:5060


def _read(file: Path) -> dict[str, object]:
    """Dotted names or tables, ``[sip] server = ...``: both mean sip.server."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid("file", f"{file} is not TOML: {error}") from error
    return _flat("", document)


def _flat(prefix: str, table: dict[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(f"{prefix}{name}.", value)
        else:
            flat[prefix + name] = value
    return flat


@click.command("render", cls=Verb)
@click.argument("mac", type=MAC)
@click.argument("file", default="")
@click.option("--explain", is_flag=True, help="For every value the scope that set it and what it overrode.")
@REVEAL
@with_fleet
async def render(fleet: Fleet, mac: Mac, file: str, explain: bool, reveal: bool) -> object:
    """What the device would fetch now: all its files, or FILE; secrets masked."""
    preview = await previewed(mac)
    if reveal:
        await fleet.note_revealed(mac)
    masked = Masked(reveal)
    if explain:
        found = preview.explain(masked)
        rows = [{**as_row(one), "value": written(one.value)} for one in found]
        return Shown(found, rows=rows, names=await names_in(fleet, found))
    files = [preview.render(file, masked)] if file else list(preview.render_all(masked))
    text = files[0].text if file else "\n".join(f"# ---- {one.name} ({one.kind})\n{one.text}" for one in files)
    return Shown(files, text.rstrip("\n"))


@dataclass(frozen=True, slots=True)
class Difference:
    """One file of `provisioner diff`."""

    file: str
    state: str
    diff: str = ""


@click.command("diff", cls=Verb)
@click.argument("mac", type=MAC)
@REVEAL
@with_fleet
async def diff(fleet: Fleet, mac: Mac, reveal: bool) -> object:
    """What the device would fetch now against what it fetched last; secrets masked.

    One parameter a line, whatever the file's own layout. Exit code 0 when nothing differs, 1 when something does.
    """
    preview = await previewed(mac)
    if reveal:
        await fleet.note_revealed(mac)
    found = await differences(fleet, preview, reveal)
    text = "\n".join(one.diff.rstrip("\n") or f"{one.file}: {one.state}" for one in found)
    return Shown(found, text, exit_code=int(any(one.state == "changed" for one in found)))


async def differences(fleet: Fleet, preview: Preview, reveal: bool) -> list[Difference]:
    """Each file that the server makes for the device, compared."""
    found = []
    for file in preview.render_all(Masked(reveal=True)):
        try:
            last = await fleet.last_body(preview.config.mac, file.name)
        except NotFound:
            found.append(Difference(file.name, "never fetched"))
            continue
        diff = difference(file.name, last.decode("utf-8"), file.text, Masked(reveal))
        found.append(Difference(file.name, "changed" if diff else "unchanged", diff))
    return found
