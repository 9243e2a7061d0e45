"""ConfigLayers: settings of each scope, typed by the registry that also says what they mean; and the models."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from provisioner.effects import effect_of
from provisioner.errors import Invalid, NotFound
from provisioner.http.api.cursors import turned
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.status import plain
from provisioner.http.api.words import (
    LARGEST,
    Fields,
    Given,
    Id,
    Maybe,
    MaybeText,
    Paged,
    Text,
    Told,
    Turning,
)
from provisioner.model import ConfigLayer, Model, Scope
from provisioner.neutral import SETTINGS
from provisioner.rehearsal import LayerChange as Rehearsed
from provisioner.rights import Right
from provisioner.vendor import model_named

layers = Routes(
    "layers",
    "Settings from one scope: defaults, vendor, model, account, site, device; a later one overrides an earlier one. A "
    "key names the vendor, VENDOR/MODEL, the account, site or MAC; of the defaults it is `-`.",
)
models = Routes("models", "What devices may be, and what they can do.")

_NO_KEY: Final = "-"
_PLACES: Final = 100
Confirm = Annotated[
    int | None,
    Field(ge=0, le=LARGEST, description="How many phones it concerns, where those are many (`rollout.confirm`)"),
]
Canary = Annotated[
    float | None,
    Field(gt=0, le=100, description="Percent of the phones that get it first; null: a few of many, all of few"),
]


class Layer(Told):
    """What one layer says; secret settings are hidden."""

    scope: Scope
    key: str
    values: Annotated[dict[str, Any], Field(description="Neutral settings")]
    raw: Annotated[dict[str, str], Field(description="The vendor's own parameters")]


class ChangedLayer(Layer):
    """What it says now, and how that reaches its phones."""

    beside = frozenset({"revision", "phones", "rollout", "reached", "how"})

    revision: Annotated[int, Field(description="By which it can be taken back")]
    phones: Annotated[int, Field(description="For how many phones the layer is")]
    rollout: Annotated[str | None, Field(description="Where it reaches them step by step, or in waves; else null")]
    reached: Annotated[int, Field(description="Phones that get it with the first step; of more than 10,000 reckoned")]
    how: Annotated[
        str, Field(description="In words, also where a `canary` could not be; empty: all with their next fetch")
    ]


class LayersAsked(Turning):
    """Which layers."""

    scope: Annotated[Scope | None, Field(description="Empty: all but those of devices")] = None


class LayerChange(Given):
    """What shall be different; everything else stays."""

    values: Annotated[dict[Text, Any], Field(max_length=500, description="Neutral settings to set")] = {}  # noqa: RUF012  # pydantic copies it
    raw: Annotated[dict[Text, str], Field(max_length=500, description="The vendor's own parameters to set")] = {}  # noqa: RUF012  # pydantic copies it
    unset: Annotated[list[Text], Field(max_length=500, description="Settings and parameters to take away")] = []  # noqa: RUF012  # pydantic copies it
    confirm: Confirm = None
    canary: Canary = None


class FileDiff(Told):
    """One file that would be another one, secrets hidden."""

    name: str
    diff: Annotated[str, Field(description="Unified, a parameter a line")]


class PhoneEffect(Told):
    """A phone that would get other files."""

    mac: str
    model: str
    files: list[FileDiff]
    fault: Annotated[str, Field(description="Why its files could not be made; else empty")]


class ModelEffect(Told):
    """Phones of one model that the layer is for."""

    vendor: str
    model: str
    phones: int
    looked: Annotated[int, Field(description="How many of them were looked at")]
    different: Annotated[int, Field(description="How many of those would get other files")]


class Place(Told):
    """Phones of one model at one site that the layer is for."""

    account: Id
    site: Annotated[Maybe, Field(description="null: at none")]
    model: str
    phones: int
    first: Annotated[list[str], Field(description="Some of them; twenty in all, of the places with the most phones")]


class Effect(Told):
    """What a change would make of phones."""

    phones: Annotated[int, Field(description="For how many phones the layer is: what `confirm` says")]
    asks: Annotated[bool, Field(description="Whether that is so many that `confirm` is needed")]
    models: list[ModelEffect]
    places: Annotated[list[Place], Field(description="Where those phones are; the places with the most, up to 100")]
    different: Annotated[list[PhoneEffect], Field(description="Of the phones that were looked at, those that differ")]


class Meaning(Told):
    """A neutral setting: one meaning for all vendors."""

    name: str
    help: str
    unit: str
    default: Any
    secret: bool
    per_line: Annotated[bool, Field(description="May be given for line N alone as `line.N.NAME`")]
    policy: Annotated[bool, Field(description="Says what this server does; no parameter of a phone means it")]


class Meanings(Told):
    """All neutral settings."""

    items: list[Meaning]


class ModelRow(Told):
    """A model of a vendor."""

    vendor: str
    name: str
    family: str
    dialect: str
    lines: int
    line_keys: int
    ports: int
    min_firmware: str
    ivr_activation: bool
    poe: bool
    dect: bool
    refuses: Annotated[dict[str, str], Field(description="Neutral setting -> why this model cannot do it")]
    note: str


class Models(Told):
    """Models that devices may be of."""

    items: list[ModelRow]


class ModelsAsked(Fields):
    """Which models."""

    vendor: MaybeText = ""


def _layer(one: ConfigLayer) -> Layer:
    values = {name: plain(value) for name, value in sorted(one.values.items())}
    return Layer(scope=one.scope, key=one.key, values=values, raw=dict(sorted(one.raw.items())))


def place(call: AnyCall) -> tuple[Scope, str]:
    """Which layer the path means."""
    word, key = call.path["scope"], call.path["key"]
    if word not in set(Scope):
        raise Invalid("scope", f"must be one of {', '.join(one.value for one in Scope if one is not Scope.BUILT_IN)}")
    return Scope(word), "" if key == _NO_KEY else key


@layers.get("/settings-of-devices", Right.MODEL_READ, Meanings)
async def list_meanings(call: AnyCall) -> Meanings:
    """Every neutral setting, its type, bounds and meaning; the registry that also checks what is set."""
    del call
    return Meanings(
        items=[
            Meaning(name=one.name, help=one.help, unit=one.unit, default=plain(one.default), secret=one.secret,
                    per_line=one.per_line, policy=one.policy)
            for one in SETTINGS.values()
        ]
    )  # fmt: skip


@layers.get("/layers", Right.LAYER_READ, Paged[Layer], query=LayersAsked)
async def list_layers(call: AnyCall) -> Paged[Layer]:
    """The layers within reach that say anything: of one scope, or of all but the devices'."""
    found = await call.desks.fleet.layers(call.query.scope)
    return turned("layers", found, call.query, lambda one: f"{one.scope.value}/{one.key}", Layer, _layer)


@layers.get("/layers/{scope}/{key}", Right.LAYER_READ, Layer, query=Fields)
async def show_layer(call: AnyCall) -> Layer:
    """What one layer says; empty where it says nothing."""
    return _layer(await call.desks.fleet.layer(*place(call)))


@layers.patch(
    "/layers/{scope}/{key}", Right.LAYER_WRITE, body=LayerChange, told=ChangedLayer, version=show_layer, must_match=True
)
async def change_layer(call: AnyCall) -> ChangedLayer:
    """Set and take away settings of a layer, as one revision; all are checked before any is kept.

    Where many phones are concerned `confirm` has to say how many, and a few get it first: see rollouts.
    """
    given: LayerChange = call.body
    scope, key = place(call)
    _require_something(given)
    found = await call.desks.layers.change_layer(
        scope, key, given.values, given.raw, given.unset, confirm=given.confirm, canary=given.canary
    )
    rollout = found.rollout.id if found.rollout else None
    about = {"revision": found.revision, "phones": found.phones, "rollout": rollout, "reached": found.reached}
    return ChangedLayer.model_validate({**_layer(found.layer).model_dump(), **about, "how": found.told})


def _require_something(given: LayerChange) -> None:
    if not (given.values or given.raw or given.unset):
        raise Invalid("values", "say at least one thing to set or to take away")


@layers.post(
    "/layers/{scope}/{key}/preview",
    Right.LAYER_WRITE,
    body=LayerChange,
    told=Effect,
    version=show_layer,
    tags=False,
    whole=False,
)
async def preview_layer(call: AnyCall) -> Effect:
    """How many phones a change would concern, and what some of each model would get; nothing is kept."""
    given: LayerChange = call.body
    scope, key = place(call)
    _require_something(given)
    wanted = await call.desks.layers.rehearse_layer(scope, key, given.values, given.raw, given.unset)
    return await shown_effect(call, wanted)


async def shown_effect(call: AnyCall, wanted: Rehearsed) -> Effect:
    """What it would make of phones within reach."""
    desk = call.desks.layers
    found = await effect_of(wanted, await desk.concerned(wanted.scope, wanted.key), call.means.renders.of)
    spots = await desk.spots(wanted.scope, wanted.key)
    return Effect(
        phones=found.phones,
        asks=desk.asks(found.phones),
        models=[
            ModelEffect(vendor=one.vendor, model=one.model, phones=one.phones, looked=len(one.looked),
                        different=one.different)
            for one in found.models
        ],
        places=[Place.model_validate(one) for one in spots[:_PLACES]],
        different=[PhoneEffect.model_validate(one) for one in found.different],
    )  # fmt: skip


@models.get("/models", Right.MODEL_READ, Models, query=ModelsAsked)
async def list_models(call: AnyCall) -> Models:
    """The models that a device may be of."""
    found = [one for driver in call.means.drivers.values() for one in driver.manifest.models.values()]
    return Models(items=[_model(one) for one in found if call.query.vendor in {"", one.vendor}])


@models.get("/models/{vendor}/{model}", Right.MODEL_READ, ModelRow)
async def show_model(call: AnyCall) -> ModelRow:
    """One model, as people write its name."""
    driver = call.means.drivers.get(call.path["vendor"])
    found = model_named(driver.manifest, call.path["model"]) if driver else None
    if found is None:
        raise NotFound(f"there is no model {call.path['model']!r} of {call.path['vendor']!r}")
    return _model(found)


def _model(one: Model) -> ModelRow:
    return ModelRow(**{name: getattr(one, name) for name in ModelRow.model_fields if name != "refuses"},
                     refuses=dict(one.refuses))  # fmt: skip
