"""Use-case: what a device would fetch now, where each value comes from, and how that differs from its last fetch.

Strategy: the same view, layers and driver as at the device edge; secrets are taken out of the text afterwards.
"""

from __future__ import annotations

import difflib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from provisioner.activation_offer import Moment, Offers
from provisioner.activation_secret import ENTROPY, PURPOSE
from provisioner.deeds import Cure, Deed
from provisioner.errors import NoSuchFile, NotFound
from provisioner.layers import Merged, merge, resolve
from provisioner.model import BootView, DeviceFile, FileKind, Line, Mac, Model, ResolvedConfig, Scope, Sourced
from provisioner.neutral import ACTIVATION, KEYS, LANGUAGE, SETTINGS, DialRule, HostPort, LineKey
from provisioner.secret_names import MASK, SECRET_NAME, is_secret
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.views import Views
from provisioner.vendor import VendorDriver
from provisioner.wiping import blank

_ENTRY: Final = re.compile(
    r'''(?P<before>(?P<attribute>[\w.\[\]-]+)\s*=\s*"'''
    r"""|<N>(?P<element>[^<]+)</N>\s*<V[^>]*>"""
    r"""|^(?P<key>[\w.\[\]-]+)[ \t]*=[ \t]*)(?P<value>[^"<\r\n]*)""",
    re.MULTILINE,
)
"""A parameter in the three syntaxes that are served: an attribute, an OBi pair, a line."""
_ATTRIBUTE: Final = re.compile(r'\s+(?=[\w.\[\]-]+=")')
_TOKEN: Final = re.compile(r"/t/[A-Za-z0-9_-]{16,}")
_UNRENDERED: Final = frozenset({FileKind.FIRMWARE, FileKind.LOG, FileKind.RESOURCE})


class Masked:
    """Takes secrets out of texts; within one Masked equal secrets look equal and different ones differ."""

    def __init__(self, reveal: bool = False) -> None:
        self._reveal = reveal
        self._seen: dict[str, str] = {}

    def text(self, text: str) -> str:
        """The text with the values of secret parameters and tokens in URLs replaced."""
        if self._reveal:
            return text
        return _TOKEN.sub("/t/***", _ENTRY.sub(self._entry, text))

    def value(self, name: str, value: object) -> object:
        """One value, replaced when its name says that it is secret."""
        if self._reveal or not value or not is_secret(name):
            return value
        return MASK

    def _entry(self, found: re.Match[str]) -> str:
        name = found["attribute"] or found["element"] or found["key"]
        if not found["value"] or not SECRET_NAME.search(name) or name.endswith(".set"):
            return found[0]
        return found["before"] + self._label(found["value"])

    def _label(self, secret: str) -> str:
        if secret not in self._seen:
            self._seen[secret] = MASK if not self._seen else f"{MASK}({len(self._seen) + 1})"
        return self._seen[secret]


@dataclass(frozen=True, slots=True)
class Explained:
    """One value, who set it, and what that overrode, nearest first."""

    name: str
    value: object
    scope: str
    key: str = ""
    """Which vendor, model, account, site or device; empty for the defaults."""
    overrode: tuple[str, ...] = ()
    note: str = ""
    """Why this device does not get it, although a layer that it shares says so."""


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """One file as the device would get it."""

    name: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Preview:
    """One device as the device edge would see it now."""

    driver: VendorDriver
    config: ResolvedConfig

    @classmethod
    async def load(
        cls,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        mac: Mac,
        base_url: str,
        settings: Settings,
        authority: str = "",
    ) -> Preview:
        """Read what the device edge reads; NotFound when nobody has added the device. ``authority``: our CA, if any."""
        offers = Offers(settings, lambda: store.box.derived(PURPOSE)[0], authority)
        views = Views(store)
        await views.open()
        try:
            view = await views.boot_view(mac)
            if view is None:
                raise NotFound(f"there is no device {mac.colons}", cure=Cure(Deed.ADD_DEVICE, mac))
            found = cls.of(drivers[view.device.vendor], view, views.shared(view.device), base_url)
        finally:
            await views.close()
        if view.lines or view.wiped or not found.config.get(ACTIVATION):
            return found
        moment = Moment(time.time(), os.urandom(ENTROPY))
        return replace(found, config=offers.configuration(found.config, moment, site=view.device.site, known=True))

    @classmethod
    def of(cls, driver: VendorDriver, view: BootView, shared: Merged, base_url: str) -> Preview:
        """Resolve as the device edge does; NotFound when the model has left models.toml."""
        model = driver.manifest.models.get(view.device.model)
        if model is None:
            cure = Cure(Deed.SET_MODEL, view.device.mac)
            raise NotFound(f"model {view.device.model!r} is in no models.toml", cure=cure)
        merged = shared if view.layer is None else merge([view.layer], onto=shared)
        emptied, wiped = view.emptied, view.wiped
        found = resolve(view.device.mac, model, view.lines, merged, base_url=base_url, emptied=emptied, wiped=wiped)
        return cls(driver, found)

    def names(self) -> tuple[str, ...]:
        """The names this device asks for, in boot order."""
        model = self.config.model
        words = {"mac": self.config.mac, "MAC": self.config.mac.upper(), "code": model.code, "part": model.part_number}
        return tuple(name.format_map(words) for name in self.driver.manifest.files.get(model.dialect, ()))

    def render(self, name: str, masked: Masked) -> RenderedFile:
        """One file by name; NotFound when the device has no such file."""
        file = self._file(name)
        try:
            body = self.driver.render(file, self.config)
        except NoSuchFile as error:
            raise NotFound(self._unknown(name)) from error
        return RenderedFile(file.name, file.kind.value, masked.text(body.decode("utf-8")))

    def render_all(self, masked: Masked) -> Iterator[RenderedFile]:
        """Every file the server makes for this device, in boot order."""
        for name in self.names():
            file = self.driver.match(name, "")
            if file is None or file.upload or file.kind in _UNRENDERED:
                continue
            try:
                yield RenderedFile(
                    file.name, file.kind.value, masked.text(self.driver.render(file, self.config).decode("utf-8"))
                )
            except NoSuchFile:
                continue  # 404 is this file's normal answer for this model

    def _file(self, name: str) -> DeviceFile:
        file = self.driver.match(name.lstrip("/"), "")
        if file is None or file.upload or file.kind in _UNRENDERED or file.mac not in {None, self.config.mac}:
            raise NotFound(self._unknown(name))
        return file

    def _unknown(self, name: str) -> str:
        made = ", ".join(one.name for one in self.render_all(Masked()))
        return f"{name!r} is no file that the server makes for {self.config.mac.colons}; it makes {made or 'none'}"

    def explain(self, masked: Masked) -> tuple[Explained, ...]:
        """Lines, neutral settings and raw parameters, each with its origin; unset settings with their default.

        Of a wiped device only what it is told nevertheless: no layer counts for it.
        """
        config = blank(self.config) if self.config.wiped else self.config
        unset = {name: Sourced(one.default, Scope.BUILT_IN) for name, one in SETTINGS.items()}
        values = {
            name: replace(_explained(name, one, masked), note=self._not_applied(name, one.value))
            for name, one in {**unset, **config.values}.items()
        }
        raw = (_explained(name, one, masked) for name, one in sorted(config.raw.items()))
        return (*(_line(one, masked) for one in config.lines), *values.values(), *raw)

    def _not_applied(self, name: str, value: object) -> str:
        """The reason why the driver leaves a setting out that a layer gives; empty when it does not."""
        if name not in self.config.values:
            return ""
        model, manifest = self.config.model, self.driver.manifest
        prefixed = name.startswith("line.")
        plain = name.split(".", 2)[2] if prefixed else name
        reason = model.refuses.get(plain) or (model.refuses.get(f"line.{plain}", "") if prefixed else "")
        if plain == LANGUAGE.name and isinstance(value, str) and not manifest.speaks(value):
            reason = reason or f"{manifest.title} phones lack {value}"
        if plain == KEYS.name and not reason:
            reason = _beyond(model, KEYS.parse(value))
        return f"not applied: {reason}" if reason else ""


def _beyond(model: Model, keys: Iterable[LineKey]) -> str:
    beyond = [str(key.position) for key in keys if key.position > model.line_keys > 0]
    return f"{model.name} has keys 1 to {model.line_keys}, so not {', '.join(beyond)}" if beyond else ""


def _line(line: Line, masked: Masked) -> Explained:
    secret = masked.value("secret", line.secret)
    told = f"extension {line.extension}, auth user {line.auth_user}, secret {secret}, shows {line.display_name!r}"
    return Explained(f"line {line.number}", told, "binding")


def _explained(name: str, found: Sourced, masked: Masked) -> Explained:
    overrode = tuple(f"{scope}: {written(masked.value(name, value))}" for scope, value in found.overrode)
    return Explained(name, masked.value(name, found.value), found.scope.value, found.key, overrode)


def written(value: object) -> str:
    """A typed value as an administrator would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ", ".join(written(one) for one in value)
    if isinstance(value, HostPort):
        return f"{value.host}:{value.port}" if value.port else value.host
    if isinstance(value, (LineKey, DialRule)):
        return " ".join(f"{one.name}={getattr(value, one.name)}" for one in fields(value))
    return str(value)


def difference(name: str, before: str, now: str, masked: Masked) -> str:
    """A unified diff of one file, last fetched against now, an attribute a line; empty when they are equal."""
    old, new = (_ATTRIBUTE.sub("\n  ", masked.text(text)).splitlines(keepends=True) for text in (before, now))
    return "".join(difflib.unified_diff(old, new, f"{name} (last fetched)", f"{name} (now)"))
