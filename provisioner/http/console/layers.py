"""Settings of phones, a layer at a time: changed only after a look at the phones concerned and at what they would get.

Whoever saves says which version was changed; where somebody else was there meanwhile, both versions are shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from provisioner.effects import Effect, effect_of
from provisioner.errors import Invalid, Stale
from provisioner.fleet.rollouts import Changed
from provisioner.http.api.etags import etag_of
from provisioner.http.api.status import plain
from provisioner.http.console.choices import accounts, model_choices, names_of, sites
from provisioner.http.console.look import sentence
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.model import ConfigLayer, Mac, Scope
from provisioner.neutral import SETTINGS, parse_value, setting_of
from provisioner.preview import Masked, written
from provisioner.rehearsal import LayerChange
from provisioner.rights import Right
from provisioner.secret_names import is_secret

layers = Pages()

_EMPTY: Final = 3
"""Rows for new entries."""
_SHOWN: Final = (3, 8)
"""Phones whose differences are shown: so many at least, and one of each model up to so many."""
_NOT_GIVEN: Final = frozenset({"csrf", "version", "key", "confirm", "canary"})
"""Fields of the form that are no entries of the layer."""
_SCOPES: Final = tuple(one for one in Scope if one is not Scope.BUILT_IN)


def place_of(call: Call) -> tuple[Scope, str]:
    """Which layer the page is about."""
    word = call.place("scope")
    if word not in set(_SCOPES):
        raise Invalid("scope", f"must be one of {', '.join(one.value for one in _SCOPES)}")
    return Scope(word), call.form.text("key") or call.asked("key")


def address(scope: Scope, key: str) -> str:
    """The page of a layer."""
    return f"/layers/{scope.value}?{urlencode({'key': key})}" if key else f"/layers/{scope.value}"


def version_of(layer: ConfigLayer) -> str:
    """Changes with anything that the layer says; of secrets no more is in it than that they are there."""
    said = {"values": {name: plain(one) for name, one in layer.values.items()}, "raw": dict(layer.raw)}
    return etag_of(said)


@layers.get("/layers", Right.LAYER_READ)
async def list_layers(call: Call) -> Answer:
    """The layers that say anything, and the way to one that says nothing yet."""
    found = await call.desks.fleet.layers()
    values = {
        "layers": [(one, address(one.scope, one.key)) for one in found],
        "names": await names_of(call, _keys(found, Scope.ACCOUNT), _keys(found, Scope.SITE)),
        "vendors": [(name, call.means.drivers[name].manifest.title) for name in sorted(call.means.drivers)],
        "accounts": await accounts(call),
        "sites": await sites(call),
        "models": model_choices(call),
    }
    return View("layers.html.j2", values)


@layers.get("/layers/{scope}", Right.LAYER_READ)
async def show_layer(call: Call) -> Answer:
    """What a layer says; for who may change it, as a form."""
    scope, key = place_of(call)
    found = await call.desks.fleet.layer(scope, key)
    return View("layer.html.j2", await _editor(call, found))


async def _editor(call: Call, found: ConfigLayer) -> dict[str, Any]:
    rows = [_row(call, name, value) for name, value in sorted(found.values.items())]
    names = await names_of(call, _keys([found], Scope.ACCOUNT), _keys([found], Scope.SITE))
    return {
        "layer": found,
        "title": title_of(found, names),
        "version": version_of(found),
        "rows": rows,
        "raw": [_raw_row(call, name, value) for name, value in sorted(found.raw.items())],
        "new": _filled(call, "new"),
        "new_raw": _filled(call, "rawnew"),
        "settings": [one for one in SETTINGS.values() if one.name not in found.values],
        "may_write": call.may(Right.LAYER_WRITE),
        "rollout": await call.desks.layers.rollout_of(found.scope, found.key),
    }


def _keys(found: Sequence[ConfigLayer], scope: Scope) -> list[str]:
    return [one.key for one in found if one.scope is scope]


def title_of(found: ConfigLayer, names: Mapping[str, str]) -> str:
    """What people call the layer."""
    if found.scope is Scope.DEVICE:
        return f"Device {Mac(found.key).colons}"
    return (
        "Defaults"
        if found.scope is Scope.DEFAULTS
        else f"{found.scope.value.capitalize()} {names.get(found.key, found.key)}"
    )


def _row(call: Call, name: str, value: object) -> dict[str, Any]:
    """One setting as it stands in the form."""
    gone = call.form.flag(f"unset:{name}")
    try:
        about = setting_of(name)
    except Invalid:
        told = {"help": "not known to this version", "unit": "", "secret": True}
        return {"name": name, "text": text_of(value), "was": "", "gone": gone, **told}
    was = "" if about.secret else text_of(value)
    text = "" if about.secret else _typed(call, f"set:{name}", was)
    told = {"help": about.help, "unit": about.unit, "secret": about.secret}
    return {"name": name, "text": text, "was": was, "gone": gone, **told}


def _raw_row(call: Call, name: str, value: str) -> dict[str, Any]:
    secret = is_secret(name)
    text = "" if secret else _typed(call, f"raw:{name}", value)
    return {"name": name, "text": text, "was": "" if secret else value, "secret": secret}


def _typed(call: Call, field: str, now: str) -> str:
    """What was typed into a field; what the layer says where nobody has typed anything."""
    texts = call.form.fields.get(field)
    return texts[0] if texts and texts[0] != call.form.raw(f"was:{field}") else now


def text_of(value: object) -> str:
    """As it can be typed again."""
    told = plain(value)
    if isinstance(told, list) and any(isinstance(one, dict) for one in told):
        return json.dumps(told, ensure_ascii=False)
    return written(value)


def _filled(call: Call, prefix: str) -> list[tuple[str, str]]:
    """Rows for new entries, with what was typed into them."""
    names, values = call.form.many(f"{prefix}-name"), call.form.many(f"{prefix}-value")
    found = [pair for pair in zip(names, values, strict=False) if pair[0].strip()]
    return [*found, *[("", "")] * max(1, _EMPTY - len(found))]


# --- what was meant -------------------------------------------------------------------------------


def meant(call: Call, now: ConfigLayer) -> LayerChange:
    """The difference between the form and the layer; Invalid where there is none, or a value cannot be read."""
    form = call.form
    texts = {name: text.strip() for name, text in _touched(call, "set:").items()}
    texts = {
        name: text for name, text in texts.items() if name in now.values and _differs(text, now.values[name], name)
    }
    texts |= {name.strip(): text.strip() for name, text in _filled(call, "new") if name.strip()}
    raw = {name: text for name, text in _touched(call, "raw:").items() if text != now.raw.get(name)}
    raw |= {name.strip(): text for name, text in _filled(call, "rawnew") if name.strip()}
    gone = frozenset(name for name in form.below("unset:") if name in now.values or name in now.raw)
    values = {name: parse_value(name, _loose(text)) for name, text in texts.items() if name not in gone}
    change = LayerChange(now.scope, now.key, values, {name: one for name, one in raw.items() if name not in gone}, gone)
    if not change.names:
        raise Invalid("settings", "nothing is different from what the layer says already")
    return change


def _touched(call: Call, prefix: str) -> Mapping[str, str]:
    """Fields into which something was typed: what somebody else has changed meanwhile is not taken back."""
    form = call.form
    return {name: text for name, text in form.below(prefix).items() if text != form.raw(f"was:{prefix}{name}")}


def _differs(text: str, value: object, name: str) -> bool:
    if setting_of(name).secret:
        return bool(text)  # left empty it stays as it is
    return text != text_of(value)


def _loose(text: str) -> object:
    """Lists of keys and rules are JSON; everything else is text, which each setting reads by itself."""
    if text[:1] not in {"[", "{"}:
        return text
    try:
        found: object = json.loads(text)
    except ValueError:
        return text
    return found


# --- looked at before it is so --------------------------------------------------------------------


async def _again(call: Call) -> Answer:
    """The form with what is wrong; where somebody else was there meanwhile, both versions."""
    scope, key = place_of(call)
    now = await call.desks.fleet.layer(scope, key)
    values = await _editor(call, now)
    if not isinstance(call.error, Stale):
        return View("layer.html.j2", values)
    return View("layer_conflict.html.j2", {**values, "given": _given(call), "now_says": _said(now)})


def _said(layer: ConfigLayer) -> list[tuple[str, str]]:
    return [(name, text_of(value)) for name, value in sorted({**layer.values, **layer.raw}.items())]


def _given(call: Call) -> list[tuple[str, str]]:
    """What was sent, to be shown and to be sent again; secrets are not repeated."""
    return [
        (name, "" if _is_secret(name) else value)
        for name, values in call.form.fields.items()
        for value in values
        if name not in _NOT_GIVEN
    ]


def _is_secret(field: str) -> bool:
    kind, _, name = field.partition(":")
    if kind == "raw":
        return is_secret(name)
    try:
        return kind == "set" and setting_of(name).secret
    except Invalid:
        return True


@layers.post("/layers/{scope}/preview", Right.LAYER_WRITE, again=_again, whole=False)
async def preview_layer(call: Call) -> Answer:
    """How many phones it concerns, and what some of each model would get."""
    scope, key = place_of(call)
    now = await call.desks.fleet.layer(scope, key)
    _require_version(call, now)
    change = meant(call, now)
    desk = call.desks.layers
    wanted = await desk.rehearse_layer(scope, key, change.values, change.raw, change.unset)
    effect = await effect_of(wanted, await desk.concerned(scope, key), call.means.renders.of)
    values = {
        "layer": now, "version": version_of(now), "title": (await _editor(call, now))["title"],
        "changes": changes(change, now), "effect": effect, "asks": desk.asks(effect.phones), "shown": shown_of(effect),
        "canary": call.means.settings.rollout_canary,
        "given": [(name, value) for name, values in call.form.fields.items() for value in values
                  if name not in _NOT_GIVEN],
    }  # fmt: skip
    return View("layer_preview.html.j2", values)


def shown_of(effect: Effect) -> int:
    """How many differences are shown; they begin with one of each model."""
    least, most = _SHOWN
    return max(least, min(most, sum(one.different > 0 for one in effect.models)))


def _require_version(call: Call, now: ConfigLayer) -> None:
    if call.form.raw("version") != version_of(now):
        raise Stale("somebody has changed this layer since you opened it")


def changes(change: LayerChange, now: ConfigLayer) -> list[dict[str, str]]:
    """Each entry as it is and as it shall be, secrets hidden."""
    before = {**now.values, **now.raw}
    after: dict[str, object] = {**change.values, **change.raw}
    masked = Masked()
    return [
        {"name": name, "before": text_of(masked.value(name, before[name])) if name in before else "",
         "after": "" if name in change.unset else text_of(masked.value(name, after[name]))}
        for name in change.names
    ]  # fmt: skip


@layers.post("/layers/{scope}/change", Right.LAYER_WRITE, whole=False)
async def change_further(call: Call) -> Answer:
    """Back to the form, with all that was typed."""
    return await _again(call)


@layers.post("/layers/{scope}/save", Right.LAYER_WRITE, again=_again)
async def save_layer(call: Call) -> Answer:
    """It is so from now on: for all phones when they next ask, or for a few first where they are many."""
    scope, key = place_of(call)
    now = await call.desks.fleet.layer(scope, key)
    _require_version(call, now)
    change = meant(call, now)
    found = await call.desks.layers.change_layer(
        scope, key, change.values, change.raw, sorted(change.unset), confirm=confirmed(call), canary=canary_of(call)
    )
    return See(address(scope, now.key), saved(found))


def confirmed(call: Call) -> int | None:
    """The number of phones that the page before has shown."""
    text = call.form.text("confirm")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else None


def canary_of(call: Call) -> float | None:
    """Percent of the phones that get it first; None where the form has no such field, or an empty one."""
    text = call.form.text("canary")
    try:
        return float(text) if text else None
    except ValueError:
        raise Invalid("canary", "must be a number of percent") from None


def saved(found: Changed) -> str:
    """What has come of it, in a sentence or two."""
    if not found.told:
        return "Saved. Phones get it with their next fetch."
    return f"Saved as revision {found.revision}. {sentence(found.told)}"
