"""Use-cases of the administrator: settings of each scope, checked by name before anything is stored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.deeds import Cure, Deed
from provisioner.desk import Desk, account_of, device_of, site_of
from provisioner.errors import Invalid, NotFound
from provisioner.model import ConfigLayer, Mac, Model, Scope, Secret
from provisioner.neutral import KEYS, LANGUAGE, LineKey, parse_value, setting_of
from provisioner.rehearsal import LayerChange
from provisioner.secret_names import MASK, is_secret
from provisioner.store import layer_rows
from provisioner.store.database import Change
from provisioner.vendor import Manifest, model_named

HIDDEN: Final = Secret(MASK)
"""What is shown in place of a secret setting."""
_LINE: Final = re.compile(r"line\.([0-9]+)\.(.+)")
_LONGEST_RAW: Final = 4096
_LONGEST_TOLD: Final = 2000
"""Characters of values in an audit event."""


def check_model_fits(model: Model, values: Mapping[str, object]) -> None:
    """Invalid, with the reason, when the model cannot do a setting or has no such line or key."""
    for name, value in values.items():
        prefixed = _LINE.fullmatch(name)
        plain = prefixed[2] if prefixed else name
        reason = model.refuses.get(plain) or (model.refuses.get(f"line.{plain}") if prefixed else None)
        if reason is not None:
            raise Invalid(name, f"{model.name} cannot do it: {reason}")
        if prefixed and int(prefixed[1]) > model.lines:
            raise Invalid(name, f"{model.name} has lines 1 to {model.lines}")
        if name == KEYS.name:
            _check_keys(model, KEYS.parse(value))


def _check_keys(model: Model, keys: Iterable[LineKey]) -> None:
    beyond = [key.position for key in keys if key.position > model.line_keys > 0]
    if beyond:
        raise Invalid(KEYS.name, f"{model.name} has keys 1 to {model.line_keys}, and {beyond[0]} is beyond them")


def _check_language(manifest: Manifest, values: Mapping[str, object]) -> None:
    tag = values.get(LANGUAGE.name)
    if isinstance(tag, str) and tag and not manifest.speaks(tag):
        raise Invalid(LANGUAGE.name, f"{manifest.title} phones lack {tag}; they have {', '.join(manifest.languages)}")


class Layers(Desk):
    """ConfigLayers. A key is a vendor, VENDOR/MODEL, an account, a site or a Mac; the defaults have none.

    Raw parameters are one vendor's. In a layer that devices of several vendors share, their names say whose they are:
    ``poly:voice.volume``.
    """

    async def set_layer(
        self, scope: Scope, key: str, values: Mapping[str, object], raw: Mapping[str, str] | None = None
    ) -> ConfigLayer:
        """Set entries; the layer's others stay. All are checked before any is kept."""
        async with self._change() as change:
            wanted = await self._checked(change.connection, scope, key, values, raw or {})
            return masked((await self._alter(change, wanted))[1])

    async def unset_layer(self, scope: Scope, key: str, names: Iterable[str]) -> ConfigLayer:
        """Take entries out, settings or raw parameters; NotFound names one that is not there."""
        async with self._change() as change:
            wanted = await self._checked(change.connection, scope, key, {}, {}, names)
            return masked((await self._alter(change, wanted))[1])

    async def rehearse_layer(
        self,
        scope: Scope,
        key: str,
        values: Mapping[str, object] | None = None,
        raw: Mapping[str, str] | None = None,
        unset: Iterable[str] = (),
    ) -> LayerChange:
        """The change as it would be made, checked like it; nothing is kept."""
        async with self._store.reading() as connection:
            wanted = await self._checked(connection, scope, key, values or {}, raw or {}, unset)
            await layer_rows.require_settled(connection, wanted.scope, wanted.key)
        return wanted

    async def _checked(
        self,
        connection: AsyncConnection,
        scope: Scope,
        key: str,
        values: Mapping[str, object],
        raw: Mapping[str, str],
        unset: Iterable[str] = (),
    ) -> LayerChange:
        """All is read and looked at before any is kept."""
        key, model = await self._place(connection, scope, key)
        old = await self._read(connection, scope, key)
        parsed = {
            name: parse_value(name, one)
            for name, one in values.items()
            if not _is_kept(name, one, old.values.get(name))
        }
        self._check_fits(scope, key, model, parsed)
        checked = dict(self._checked_raw(scope, key, model, raw, old.raw))
        gone = list(dict.fromkeys(unset))
        if missing := [name for name in gone if name not in old.values and name not in old.raw]:
            raise NotFound(f"layer {_title(scope, key)} does not set {missing[0]}")
        return LayerChange(scope, key, parsed, checked, frozenset(gone) - {*parsed, *checked})

    def _check_fits(self, scope: Scope, key: str, model: Model | None, parsed: Mapping[str, object]) -> None:
        if model is not None:
            check_model_fits(model, parsed)
        if vendor := model.vendor if model else key if scope is Scope.VENDOR else "":
            _check_language(self._drivers[vendor].manifest, parsed)

    async def _alter(self, change: Change, wanted: LayerChange) -> tuple[ConfigLayer, ConfigLayer]:
        """What the layer said, and what it says now."""
        old = await self._read(change.connection, wanted.scope, wanted.key)
        new = altered(old, wanted)
        await layer_rows.write_layer(change.connection, self._store.box, new)
        if names := [*wanted.values, *wanted.raw]:
            note_change(change, old, new, "layer_set", names)
        if wanted.unset:
            note_change(change, old, new, "layer_unset", sorted(wanted.unset))
        return old, new

    async def layer(self, scope: Scope, key: str) -> ConfigLayer:
        """What one layer says, secret settings hidden; empty when it says nothing."""
        async with self._store.reading() as connection:
            key, _ = await self._place(connection, scope, key)
            return masked(await self._read(connection, scope, key))

    async def layers(self, scope: Scope | None = None) -> list[ConfigLayer]:
        """The layers that say anything: of one scope, or of all but the devices'."""
        async with self._store.reading() as connection:
            return [masked(one) for one in await layer_rows.list_layers(connection, self._store.box, scope)]

    async def _read(self, connection: AsyncConnection, scope: Scope, key: str) -> ConfigLayer:
        found = await layer_rows.read_layer(connection, self._store.box, scope, key)
        return found or ConfigLayer(scope, key)

    async def _place(self, connection: AsyncConnection, scope: Scope, key: str) -> tuple[str, Model | None]:
        """The key as it is stored, and the model where only one is meant."""
        if scope is Scope.DEVICE:
            device = await device_of(connection, Mac.parse(key))
            return device.mac, self._model_of(f"{device.vendor}/{device.model}")
        if scope is Scope.ACCOUNT:
            return (await account_of(connection, key)).id, None
        if scope is Scope.SITE:
            return (await site_of(connection, key)).id, None
        return self._place_of_kind(scope, key)

    def _place_of_kind(self, scope: Scope, key: str) -> tuple[str, Model | None]:
        if scope is Scope.VENDOR:
            return self._vendor(key), None
        if scope is Scope.MODEL:
            model = self._model_of(key)
            return f"{model.vendor}/{model.name}", model
        if scope is Scope.BUILT_IN:
            raise Invalid("scope", "built-in settings are the program's own: set the defaults instead")
        if key:
            raise Invalid("key", "the defaults have no key")
        return "", None

    def _vendor(self, name: str) -> str:
        if name not in self._drivers:
            raise Invalid("key", f"{name!r} is none of the vendors {', '.join(sorted(self._drivers))}")
        return name

    def _model_of(self, key: str) -> Model:
        """VENDOR/MODEL, or a model's name alone where only one vendor has it."""
        found = [
            model
            for driver in self._drivers.values()
            for model in driver.manifest.models.values()
            if key in {f"{model.vendor}/{model.name}", model.name}
        ] or self._models_named(key)
        if len(found) != 1:
            raise Invalid("key", f"{key!r} is no model; give VENDOR/MODEL", cure=Cure(Deed.LIST_MODELS))
        return found[0]

    def _models_named(self, key: str) -> list[Model]:
        """As people write it: the vendor may be left out, blanks and dashes do not count."""
        vendor, _, name = key.rpartition("/")
        manifests = [one.manifest for one in self._drivers.values() if vendor in {"", one.manifest.name}]
        return [model for manifest in manifests if (model := model_named(manifest, name)) is not None]

    def _checked_raw(
        self, scope: Scope, key: str, model: Model | None, raw: Mapping[str, str], now: Mapping[str, str] | None = None
    ) -> Iterable[tuple[str, str]]:
        owner = model.vendor if model else key if scope is Scope.VENDOR else ""
        for given, value in raw.items():
            vendor, colon, name = given.rpartition(":")
            if owner and colon and vendor != owner:
                raise Invalid(given, f"is a parameter of {vendor}, and this layer is one of {owner} devices")
            if not owner and vendor not in self._drivers:
                raise Invalid(
                    given, "say whose parameter it is, VENDOR:NAME, since devices of all vendors use this layer"
                )
            if len(value) > _LONGEST_RAW:
                raise Invalid(given, f"has {len(value)} characters, at most {_LONGEST_RAW} are allowed")
            stored = name if owner else given
            if now is None or not _is_kept(stored, value, now.get(stored)):
                self._drivers[owner or vendor].check_raw(name, value)
                yield stored, value


def altered(old: ConfigLayer, wanted: LayerChange) -> ConfigLayer:
    """The layer with the change in it."""
    kept = {name: one for name, one in old.values.items() if name not in wanted.unset}
    raw = {name: one for name, one in old.raw.items() if name not in wanted.unset}
    return ConfigLayer(old.scope, old.key, {**kept, **wanted.values}, {**raw, **wanted.raw})


def note_change(
    change: Change, old: ConfigLayer, layer: ConfigLayer, kind: str, names: Sequence[str], **more: str
) -> None:
    """What it said before and says now; of a secret, and of a raw parameter, which may be one, only that it is set."""
    change.touch(layer.scope, layer.key)
    mac = layer.key if layer.scope is Scope.DEVICE else ""
    told = {"names": ", ".join(names), "before": _shown(old, names), "after": _shown(layer, names)}
    change.audit(kind, mac=mac, scope=layer.scope.value, key=layer.key, **told, **more)


def _shown(layer: ConfigLayer, names: Sequence[str]) -> str:
    values = {**masked(layer).values, **dict.fromkeys(layer.raw, HIDDEN)}
    told = {name: values[name] for name in names if name in values}
    return json.dumps(told, default=str, sort_keys=True)[:_LONGEST_TOLD]


def _title(scope: Scope, key: str) -> str:
    return f"{scope.value} {key}".rstrip()


def masked(layer: ConfigLayer) -> ConfigLayer:
    """The layer without what is secret in it."""
    values = {name: HIDDEN if _is_secret(name) and value else value for name, value in layer.values.items()}
    raw = {name: MASK if is_secret(name) and value else value for name, value in layer.raw.items()}
    return ConfigLayer(layer.scope, layer.key, values, raw)


def _is_kept(name: str, given: object, now: object) -> bool:
    """Whether a secret was sent back as it is shown, and so stays as it is; Invalid where there is none to keep."""
    if given != HIDDEN or not is_secret(name):
        return False
    if not now:
        raise Invalid(name, f"{MASK} stands for a secret that is set already, and none is: give the secret itself")
    return True


def _is_secret(name: str) -> bool:
    """A setting that this version no longer knows is hidden too."""
    try:
        return setting_of(name).secret
    except Invalid:
        return True
