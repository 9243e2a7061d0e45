"""How pages look: strict templates that escape every value, and the words in which values are shown."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from provisioner import __version__
from provisioner.errors import Invalid
from provisioner.http.console.cures import way_of
from provisioner.http.console.menu import Entry, entries
from provisioner.http.console.pages import Call, View
from provisioner.model import Mac
from provisioner.rights import Right
from provisioner.shipped import shipped

ASSETS: Final = Path(__file__).parent / "assets"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Look:
    """All templates of the console."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(shipped("templates") / "console", encoding="utf-8"),
            undefined=StrictUndefined,
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "clock": clock, "second": second, "day": day, "size": size, "colons": colons, "word": word, "short": short,
            "number": number, "span": span, "sentence": sentence, "capital": capital,
        }  # fmt: skip
        self._environment.globals |= {"version": __version__, "asset": asset, "R": Right}

    def page(self, call: Call, view: View, said: str = "") -> str:
        """One page, or with htmx that part of it which the template gives alone."""
        values: dict[str, Any] = {
            "call": call,
            "form": call.form,
            "error": call.error,
            "wrong": call.error.field if isinstance(call.error, Invalid) else "",
            "said": said,
            "now": call.now,
            "ago": lambda at: ago(at, call.now),
            "menu": _menu(call),
            "here": call.request.path,
            "who": call.principal.actor if call.principal else "",
            "csrf": call.around.people.csrf(call.token) if call.principal else "",
            "may": call.may,
            "way_of": lambda error: way_of(error, call),
        }
        return self._environment.get_template(view.template).render({**values, **view.values})


def _menu(call: Call) -> list[tuple[str, list[tuple[Entry, bool]]]]:
    """Group by group what whoever asks may see, and which of it this is."""
    here = call.request.path
    shown = [one for one in entries() if call.may(one.right)]
    best = max((one.path for one in shown if _below(here, one.path)), key=len, default="")
    groups = groupby(shown, key=lambda one: one.group)
    return [(group, [(one, one.path == best) for one in some]) for group, some in groups]


def _below(here: str, path: str) -> bool:
    return here == path if path == "/" else here == path or here.startswith(f"{path}/")


@lru_cache(maxsize=16)
def asset(name: str) -> str:
    """The address of a file that ships with the console; it changes with what is in the file."""
    digest = hashlib.sha256((ASSETS / name).read_bytes()).hexdigest()[:12]
    return f"/assets/{digest}/{name}"


# --- words ----------------------------------------------------------------------------------------


def _time(at: float, text: str) -> Markup:
    moment = datetime.fromtimestamp(at, UTC)
    full = moment.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(moment.isoformat(timespec="seconds"), full, text)


def clock(at: float | None) -> Markup:
    """To the second, in UTC."""
    if not at:
        return Markup('<span class="dim">never</span>')
    return _time(at, datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S"))


def second(at: float) -> Markup:
    """The time of day, in UTC; its day is told when it is pointed at."""
    return _time(at, datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S"))


def day(at: float | None) -> Markup:
    """The day alone."""
    if not at:
        return Markup('<span class="dim">never</span>')
    return _time(at, datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d"))


def ago(at: float | None, now: float) -> Markup:
    """How long ago, or in how long."""
    if not at:
        return Markup('<span class="dim">never</span>')
    away = now - at
    told = span(abs(away))
    return _time(at, f"{told} ago" if away >= 0 else f"in {told}")


def span(seconds: float) -> str:
    """A length of time, as people say it."""
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * unit or (seconds >= unit and unit != _DAY):
            return f"{seconds // unit:.0f} {name}"
    return f"{seconds:.0f} s"


def size(count: int) -> str:
    """Bytes, as people say them."""
    if count < 10_000:
        return f"{count:,} B"
    return f"{count / 1000:,.1f} kB" if count < 1_000_000 else f"{count / 1e6:,.1f} MB"


def number(count: int | None) -> str:
    """With commas; nothing for what is not known."""
    return "–" if count is None else f"{count:,}"


def colons(mac: str) -> str:
    """A Mac for people."""
    return Mac(mac).colons


def word(text: object) -> str:
    """``needs_firmware`` as people read it."""
    return str(text).replace("_", " ")


def short(text: str, longest: int = 60) -> str:
    """Not more than fits into a row."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def capital(text: str) -> str:
    """With a capital at its beginning; the rest stays as it is, for there may be a name in it."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """With a capital at its beginning and a stop at its end."""
    told = capital(text)
    return told if told.endswith((".", "!", "?")) else f"{told}."
