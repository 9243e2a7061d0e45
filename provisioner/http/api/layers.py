"""ConfigLayers: settings of each scope, typed by the registry that also says what they mean; and the models."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from provisioner.errors import Invalid, NotFound
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.status import plain
from provisioner.http.api.words import Asked, Fields, Given, MaybeText, Text, Told
from provisioner.model import ConfigLayer, Model, Scope
from provisioner.neutral import SETTINGS
from provisioner.rights import Right
from provisioner.vendor import model_named

layers = Routes(
    "layers",
    "Settings from one scope: defaults, vendor, model, account, site, device; a later one overrides an earlier one. A "
    "key names the vendor, VENDOR/MODEL, the account, site or MAC; of the defaults it is `-`.",
)
models = Routes("models", "What devices may be, and what they can do.")

_NO_KEY = "-"


class Layer(Told):
    """What one layer says; secret settings are hidden."""

    scope: Scope
    key: str
    values: Annotated[dict[str, Any], Field(description="Neutral settings")]
    raw: Annotated[dict[str, str], Field(description="The vendor's own parameters")]


class Layers(Told):
    """Layers that say anything."""

    items: list[Layer]


class LayersAsked(Asked):
    """Which layers."""

    scope: Annotated[Scope | None, Field(description="Empty: all but those of devices")] = None


class LayerChange(Given):
    """What shall be different; everything else stays."""

    values: Annotated[dict[Text, Any], Field(max_length=500, description="Neutral settings to set")] = {}  # noqa: RUF012  # pydantic copies it
    raw: Annotated[dict[Text, str], Field(max_length=500, description="The vendor's own parameters to set")] = {}  # noqa: RUF012  # pydantic copies it
    unset: Annotated[list[Text], Field(max_length=500, description="Settings and parameters to take away")] = []  # noqa: RUF012  # pydantic copies it


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


class ModelsAsked(Asked):
    """Which models."""

    vendor: MaybeText = ""


def _layer(one: ConfigLayer) -> Layer:
    values = {name: plain(value) for name, value in sorted(one.values.items())}
    return Layer(scope=one.scope, key=one.key, values=values, raw=dict(sorted(one.raw.items())))


def _place(call: AnyCall) -> tuple[Scope, str]:
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


@layers.get("/layers", Right.LAYER_READ, Layers, query=LayersAsked)
async def list_layers(call: AnyCall) -> Layers:
    """The layers within reach that say anything: of one scope, or of all but the devices'."""
    return Layers(items=[_layer(one) for one in await call.desks.fleet.layers(call.query.scope)])


@layers.get("/layers/{scope}/{key}", Right.LAYER_READ, Layer, query=Fields)
async def show_layer(call: AnyCall) -> Layer:
    """What one layer says; empty where it says nothing."""
    return _layer(await call.desks.fleet.layer(*_place(call)))


@layers.patch(
    "/layers/{scope}/{key}", Right.LAYER_WRITE, body=LayerChange, told=Layer, version=show_layer, must_match=True
)
async def change_layer(call: AnyCall) -> Layer:
    """Set and take away settings of a layer; all are checked before any is kept."""
    given: LayerChange = call.body
    scope, key = _place(call)
    if not (given.values or given.raw or given.unset):
        raise Invalid("values", "say at least one thing to set or to take away")
    fleet = call.desks.fleet
    if given.unset:
        await fleet.unset_layer(scope, key, given.unset)
    if given.values or given.raw:
        await fleet.set_layer(scope, key, given.values, given.raw)
    return _layer(await fleet.layer(scope, key))


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
