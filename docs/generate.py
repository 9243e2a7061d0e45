"""Write docs/reference from the code, or with --check say which page is not what the code says."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from provisioner.cli.cures import command_of
from provisioner.cli.main import cli
from provisioner.counters import BUCKETS, GAUGES, HELP, SUMS, TIMES
from provisioner.deeds import Cure, Deed
from provisioner.diagnosis.catalogue import Party, Row, Rung, catalogue
from provisioner.diagnosis.ladder import UNDECIDED
from provisioner.events import KINDS
from provisioner.hook_events import OUTWARD, source_of
from provisioner.http.api.application import openapi
from provisioner.http.api.browse import kind_of
from provisioner.http.api.problems import CURES, titles
from provisioner.http.fleet_state import FLEET
from provisioner.http.storm_page import MINUTES, MOST
from provisioner.http.storm_watch import STORM
from provisioner.model import Model
from provisioner.neutral import SETTINGS
from provisioner.preview import written
from provisioner.roles import HOUSE, MATRIX, RIGHT_WORDS, Right, Role
from provisioner.settings import knobs
from provisioner.vendor import Manifest
from provisioner.vendors import drivers

REFERENCE = Path(__file__).resolve().parent / "reference"
NOTICE = "<!-- Written by `make docs` from the code; change the code, not this page. -->\n"


def manifests() -> list[Manifest]:
    """What the vendors say of themselves."""
    return [driver.manifest for driver in drivers()]


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"


def settings_page() -> Iterator[str]:
    """Every knob of the server, then every neutral setting of the devices."""
    yield "# Settings\n"
    yield "## Of the server\n"
    yield 'In `DATA/provisioner.toml`; the part before the dot is a table: `[server]`, `name = "prov.example.net"`.'
    yield "The file has the header of each table once already: write below that one, for a second one is refused."
    yield "Each can also be given as `PROVISIONER_<TABLE>_<NAME>` in the environment, which wins over the file. A list"
    yield 'is `["a", "b"]` in the file; in the environment it is its words with commas between them, without brackets'
    yield "or quotes: `PROVISIONER_ADMISSION_ANSWERS='poly/vvx=p2+p3,yealink/*='`. *Bounds* include their ends.\n"
    rows = (
        (f"`{name}`", _toml(one.default), one.metadata["unit"], _bounds(one.metadata), one.metadata["why"])
        for name, one in knobs()
    )
    yield from table(("setting", "default", "unit", "bounds", "why"), rows)
    yield "\n## Of the devices\n"
    yield "Neutral settings: one meaning for all vendors. `provisioner layer set SCOPE KEY NAME=VALUE` gives them."
    yield "One marked *per line* may be given for line N alone as `line.N.NAME`.\n"
    neutral = (
        (f"`{one.name}`", _code(written(one.default)), one.unit, "yes" if one.per_line else "", one.help)
        for one in SETTINGS.values()
    )
    yield from table(("setting", "default", "unit", "per line", "meaning"), neutral)


def _bounds(knob: Mapping[str, Any]) -> str:
    low, high = knob["low"], knob["high"]
    return "" if low is None else f"{_plainly(low)} to {_plainly(high)}"


def _plainly(number: float) -> str:
    return f"{number:,}" if number == int(number) and abs(number) >= 10_000 else f"{number:.15g}"


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{one}"' for one in value) + "]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{str(value).lower()}`"


def _code(text: str) -> str:
    return f"`{text}`" if text else "none"


def command_page() -> Iterator[str]:
    """The help of every command, as it prints it."""
    yield "# The command line\n"
    yield "Every command takes `--data DIR` (or `PROVISIONER_DATA`) and `--json`. Names and ids are accepted alike.\n"
    yield from table(
        ("exit code", "means"),
        iter(
            [
                ("0", "done, or nothing to complain of"),
                ("1", "refused, not found, in conflict; a check that failed; `diff` found differences"),
                ("2", "wrong usage, or an installation that cannot run as it is"),
                ("3", "a fault of the program itself"),
            ]
        ),
    )
    yield ""
    yield from _commands(cli, click.Context(cli, info_name="provisioner", terminal_width=100, max_content_width=100))


def _commands(command: click.Command, ctx: click.Context) -> Iterator[str]:
    yield f"## `{ctx.command_path}`\n\n```\n{command.get_help(ctx)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            child = command.get_command(ctx, name)
            assert child is not None
            yield from _commands(child, click.Context(child, parent=ctx, info_name=name))


def models_page() -> Iterator[str]:
    """Every model of every vendor; what it cannot do by number, each reason told once."""
    yield "# Models\n"
    yield "What `provisioner device add --model` takes. *Lines* are SIP lines, or FXS ports on an ATA. The numbers"
    yield "under *cannot* are explained below each table.\n"
    for manifest in manifests():
        yield f"## {manifest.title} (`{manifest.name}`): {len(manifest.models)} models\n"
        reasons: dict[tuple[str, str], int] = {}
        rows = [_model_row(one, reasons) for one in manifest.models.values()]
        yield from table(("model", "family", "dialect", "lines", "keys", "lowest firmware", "cannot"), iter(rows))
        yield ""
        told = ((str(number), f"`{name}`", why) for (name, why), number in reasons.items())
        yield from table(("", "what is refused", "why"), told)
        yield ""


_BY_MAC = "it cannot call the activation prompts: bind it by its MAC"


def _model_row(model: Model, reasons: dict[tuple[str, str], int]) -> tuple[str, ...]:
    refused = {**model.refuses, **({} if model.ivr_activation else {"activation code": _BY_MAC})}
    numbers = sorted(reasons.setdefault(entry, len(reasons) + 1) for entry in refused.items())
    return (
        f"`{model.name}`",
        model.family,
        model.dialect,
        str(model.lines),
        str(model.line_keys or ""),
        model.min_firmware,
        ", ".join(map(str, numbers)),
    )


def rights_page() -> Iterator[str]:
    """Every right, and how far each role carries it."""
    yield "# Rights and roles\n"
    yield "What one may do, and how far each role carries it: `all` of the account that it is held in, only one's"
    yield "`own site`, only one's `own` line, phone, orders or deeds, or only while somebody `grant`s it for a time."
    yield "Where nothing stands it is not carried; [why](../rights.md). Owners have every right; those over the whole"
    house = ", ".join(f"`{one.value}`" for one in sorted(HOUSE))
    yield f"installation ({house}) need a role in all accounts.\n"
    roles = [role for role in Role if role is not Role.OWNER]
    rows = (
        (f"`{right.value}`", RIGHT_WORDS[right], *(MATRIX[role].get(right, "") for role in roles)) for right in Right
    )
    yield from table(("right", "what one may do", *(role.value for role in roles)), rows)


def files_page() -> Iterator[str]:
    """What devices ask for, by dialect."""
    yield "# File names\n"
    yield "What a device asks for, in the order of its boot. `{mac}` is its MAC, `NN` the code and `{part}` the part"
    yield "number of its model. Other names are answered with 404, which phones expect.\n"
    for manifest in manifests():
        yield f"## {manifest.title}\n"
        rows = (
            (dialect, ", ".join(f"`{_placed(name)}`" for name in names)) for dialect, names in manifest.files.items()
        )
        yield from table(("dialect", "files"), rows)
        yield ""


def _placed(name: str) -> str:
    return name.format(mac="{mac}", MAC="{MAC}", code="NN", part="{part}")


def events_page() -> Iterator[str]:
    """Every kind of event."""
    yield "# Events\n"
    yield "What `provisioner events --kind KIND` takes. Refusals carry the reason, the verdict and what TLS showed;"
    yield "changes by administrators say who made them and are kept. A repeated refusal is told once a minute.\n"
    yield "A storm is two events a node, however many workers it has, written by its admin process (none with"
    yield "`admin.port = -1`) and at most one pair a minute. `storm_began` carries `delay_s`, `devices` and `pace`,"
    yield "`storm_ended` has `lasted_s`, `worst_delay_s`, `back`, `devices` and `outstanding`, which is how"
    yield "many had not come back, were all devices out. What is not known is left out. `node` is the host's name, and"
    yield "`untold_before` counts storms that followed another too soon to be told. A server that is stopped in a storm"
    yield "may tell no end.\n"
    yield from table(("kind", "says"), ((f"`{kind}`", says) for kind, says in KINDS.items()))
    yield from _told_outside()


def _told_outside() -> Iterator[str]:
    """The same for webhooks: type by type, and the kinds behind it."""
    yield "\n## Told to other systems\n"
    yield "What `provisioner hook add --event TYPE` takes: a type, a family (`device.*`) or `*`. A type never changes"
    yield "its meaning. `data` in the message holds what the event carries. `ping` is a test, sent to who is tested.\n"
    kinds: dict[str, list[str]] = {}
    for kind, outside in OUTWARD.items():
        kinds.setdefault(outside, []).append(kind)
    yield from table(("type", "of kind", "says", "comes from"), (_type_row(one, kinds[one]) for one in sorted(kinds)))
    yield _FEW


_FEW = """
### What keeps these few

`config.served` is told of a device that was behind a change, once, when a worker has sent it a file that is another
than it had and nothing newer is wanted. So a storm of 100,000 phones that fetch what they have tells nothing, and a
change that reaches 100,000 phones tells 100,000 times: ask for it only where that is wanted. It is written down
with the batch of fetches, in no boot's way, and only while an endpoint asks for it.

`device.offline` is told of a phone with a line that was not heard of for `presence.offline`, or for two of its own
polls where these take longer; `device.lost` when it was not for `presence.lost`; `device.online` when it is heard
of again. A phone is heard of when it fetches any file, answers a NOTIFY, is seen by the PBX after it was told to
fetch, or when another system says that it has registered. Of a phone that does not poll and was never seen to
register, silence says nothing, so nothing is told. Each is told once until it comes back. When this server has not
listened for a quarter of an hour, all phones get their time anew.

Beyond `presence.singly` phones of one site (of an account, for phones at no site) the others are not told one by
one: `site.offline` is told once, with how many are away, and `site.online` when no more than so many are left.
Phones that were told with their site come back without a word of their own. `device.lost` is always told of each
phone. A turn, every 2 s, tells 200 phones of a kind at most; what is left waits for the next.

`emergency.location_missing` is told with each line that becomes somebody's while neither the phone's site nor its
user has an address; the policy `emergency = block` refuses the line instead. The mail addresses of the site
(`notify`) are written to as well, while mail is on: a minute later, one mail for all that happened."""


def _type_row(outside: str, kinds: list[str]) -> tuple[str, ...]:
    sources = dict.fromkeys(source_of(kind) for kind in kinds)
    return f"`{outside}`", ", ".join(f"`{kind}`" for kind in kinds), KINDS[kinds[0]], "; ".join(sources)


def metrics_page() -> Iterator[str]:
    """Every metric of the admin edge."""
    yield "# Metrics\n"
    yield "What `http://127.0.0.1:8081/metrics` answers (`admin.host`, `admin.port`), in the text format of Prometheus,"
    yield "over all workers. Every name begins with `provisioner_`. A metric has at most 200 combinations of labels;"
    yield "what is beyond is counted as `other`. `/storm` draws them, `/storm.json` is the same for programs; both take"
    yield f"`?minutes=N`, how far to look back: 1 to {MOST}, and {MINUTES[0]} for the page or {MOST} for programs where"
    yield "nothing is said. Anything else is answered 400, with a sentence.\n"
    yield "Workers write twice a second: a worker that is killed takes the last half second along.\n"
    yield "## Counters\n"
    counters = [(f"`{name}_total`", ", ".join(one.labels), one.text) for name, one in HELP.items()]
    counters += [(f"`{name}_total`", "", text) for name, text in SUMS.items()]
    yield from table(("name", "labels", "what"), iter(counters))
    yield "\n## Histograms\n"
    yield f"In seconds, with the bounds {', '.join(f'{one:g}' for one in BUCKETS)}.\n"
    yield from table(("name", "what"), ((f"`{name}_seconds`", text) for name, text in TIMES.items()))
    yield "\n## Gauges\n"
    gauges = [(f"`{name}`", ", ".join(one.labels), _MODES[one.mode], one.text) for name, one in GAUGES.items()]
    gauges += [(f"`{name}`", ", ".join(labels), "", text) for name, (text, labels) in {**FLEET, **STORM}.items()]
    yield from table(("name", "labels", "of the workers", "what"), iter(gauges))
    yield "\n## Useful questions\n"
    yield from table(("question", "expression"), iter(_QUESTIONS))


_MODES = {"livesum": "sum", "livemax": "highest", "max": "highest"}
_QUESTIONS = (
    ("CPU of one boot, s", "`provisioner_busy_cpu_seconds_total / provisioner_busy_boots_total`"),
    ("boots a second", "`sum(rate(provisioner_boots_total[1m]))`"),
    ("wait of the slowest hundredth, s", "`histogram_quantile(0.99, rate(provisioner_gate_delay_seconds_bucket[1m]))`"),
    ("share of callers dropped before TLS",
     "`sum(rate(provisioner_gate_dropped_total[1m])) / (sum(rate(provisioner_gate_dropped_total[1m])) + "
     "sum(rate(provisioner_gate_begun_total[1m])))`"),
    ("alarm: a storm", "`provisioner_storm_mode == 1`"),
    ("capacity C, boots a second, as `provisioner storm plan` has it", "`provisioner_capacity_boots`"),
    ("whether the goodput has reached it", "`sum(rate(provisioner_boots_total[1m])) / provisioner_capacity_boots`"),
)  # fmt: skip


def api_page() -> Iterator[str]:
    """Every route of the API, from the document that the server itself answers with."""
    document = openapi()
    yield "# The API\n"
    yield "What a running server answers at `/api/v1/openapi.json` (OpenAPI 3.1), and shows at `/api/v1/docs`.\n"
    yield document["info"]["description"] + "\n"
    yield "## Problems\n"
    rows = ((f"`{kind}`", str(status), title, CURES[kind]) for kind, (title, status) in sorted(titles().items()))
    yield from table(("type", "status", "what", "what to do"), rows)
    for noun in document["tags"]:
        yield f"\n## {noun['name']}\n\n{noun['description']}\n"
        found = [
            (method, path, one)
            for path, methods in document["paths"].items()
            for method, one in methods.items()
            if noun["name"] in one["tags"]
        ]
        yield from table(("call", "right", "what it does", "takes"), (_api_row(*one) for one in found))
    yield "\n## Documents\n"
    for name, schema in document["components"]["schemas"].items():
        if not name.endswith("Sparse") and not name.startswith("Paged_"):
            yield from _api_schema(name, schema)


def _api_row(method: str, path: str, one: dict[str, Any]) -> tuple[str, ...]:
    asked = [f"`{it['name']}`" for it in one["parameters"] if it["in"] == "query" and it["name"] != "fields"]
    body = one.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    takes = [f"`{body['$ref'].rpartition('/')[2]}`"] if body else []
    says = ". ".join(text for text in (one["summary"], one.get("description", "").rstrip(".")) if text)
    return f"`{method.upper()} {path}`", f"`{one['x-right']}`", says, ", ".join([*takes, *asked])


def _api_schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    if "properties" not in schema:
        if "enum" in schema:
            words = ", ".join(f"`{one}`" for one in schema["enum"])
            yield f"### {name}\n\n{words}\n"
        return
    yield f"### {name}\n\n{' '.join(schema.get('description', '').split())}\n"
    needed = set(schema.get("required", ()))
    rows = (
        (f"`{field}`", kind_of(one), "yes" if field in needed else "", one.get("description", ""))
        for field, one in schema["properties"].items()
    )
    yield from table(("field", "type", "always", "what"), rows)
    yield ""


def failures_page() -> Iterator[str]:
    """The catalogue of failures, rung by rung."""
    known = catalogue()
    yield "# Why phones do not come up\n"
    yield "The ladder that `provisioner why MAC` climbs, and every failure that it knows, by its number. How to use it:"
    yield "[my phone does not come up](../my-phone-does-not-come-up.md). How each of them is produced for the tests, or"
    yield "why it is not: [captures](../../tests/captures/README.md).\n"
    yield "## The ladder\n"
    rows = ((one.title, one.asks, one.exit_class, str(one.exit), one.witness) for one in known.places.values())
    yield from table(("rung", "asks", "class", "exit code", "who could tell"), rows)
    yield f"\nExit code 0: nothing keeps it from coming up. {UNDECIDED}: it cannot be decided, a witness is missing,"
    yield "and the command that asks it is printed. 1 to 3 as of every command: refused, misused, a fault.\n"
    for rung in Rung:
        found = [one for one in known.rows.values() if one.rung is rung]
        yield f"## {known.places[rung].title[:1].upper()}{known.places[rung].title[1:]}\n"
        for one in found:
            yield from _failure(one)
    yield "## What looks the same\n"
    alike = (
        (", ".join(f"{row} {known.rows[row].title}" for row in one.rows), one.separates, _by_hand(one.deed))
        for one in known.lookalikes
    )
    yield from table(("failures", "what tells them apart", "ask by"), alike)


_REFUSED = {
    Party.PHONE: "the phone refuses the server",
    Party.SERVER: "the server refuses the phone",
    Party.NETWORK: "the network is in the way",
    Party.NONE: "nobody",
}


def _failure(one: Row) -> Iterator[str]:
    yield f"### {one.id}. {one.title}\n"
    yield f"- **At the phone:** {one.phone}."
    yield f"- **Evidence:** {one.evidence}."
    yield f"- **Cause:** {one.cause}"
    yield f"- **Cure:** {one.cure}{f' {_by_hand(one.deed)}.' if one.deed else ''}"
    for vendor, text in one.cures.items():
        yield f"  - {vendor}: {text}"
    for vendor, text in one.inferred.items():
        yield f"  - {vendor} (inferred, nobody has confirmed it): {text}"
    yield f"- **Who refuses:** {_REFUSED[one.refused]}."
    if one.unseen:
        yield f"- **Not recognised by itself:** {one.unseen}."
    yield ""


def _by_hand(deed: Deed) -> str:
    return command_of(Cure(deed, "MAC"))


PAGES = {
    "failures.md": failures_page,
    "api.md": api_page,
    "events.md": events_page,
    "settings.md": settings_page,
    "command-line.md": command_page,
    "models.md": models_page,
    "rights.md": rights_page,
    "file-names.md": files_page,
    "metrics.md": metrics_page,
}


def page(name: str) -> str:
    """One page of the reference."""
    return NOTICE + "\n" + "\n".join(PAGES[name]()).rstrip() + "\n"


def main() -> int:
    """Write all pages, or compare them."""
    if "--check" in sys.argv[1:]:
        stale = [name for name in PAGES if (REFERENCE / name).read_text(encoding="utf-8") != page(name)]
        for name in stale:
            sys.stderr.write(f"docs/reference/{name} is not what the code says; run `make docs`\n")
        return int(bool(stale))
    REFERENCE.mkdir(exist_ok=True)
    for name in PAGES:
        (REFERENCE / name).write_text(page(name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
