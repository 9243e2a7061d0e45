"""Whether a change of a layer leaves devices without their files: each is rendered with it and without it.

Strategy: the same view, layers and driver as at the device edge; what cannot be rendered either way is not the change's
doing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

from provisioner.errors import NoSuchFile, RenderFailed, StoreFailed
from provisioner.layers import merge, resolve
from provisioner.model import FileKind, Mac, ResolvedConfig
from provisioner.rehearsal import LayerChange, rehearsed
from provisioner.store.database import Store
from provisioner.store.views import Views
from provisioner.vendor import VendorDriver

_ANY: Final = "https://provisioning.invalid/"
"""Where files come from has no say in whether they can be made (RFC 2606 section 2)."""
_NOT_MADE: Final = frozenset({FileKind.FIRMWARE, FileKind.LOG, FileKind.RESOURCE})


async def broken_by(store: Store, drivers: Mapping[str, VendorDriver], macs: Iterable[Mac], change: LayerChange) -> str:
    """Why the first of these devices would get nothing under a change, though it gets something now; else empty."""
    async for mac, now, then in _both(store, drivers, macs, change):
        if then and not now:
            return f"{mac.colons}: {then}"
    return ""


async def mended_by(store: Store, drivers: Mapping[str, VendorDriver], macs: Iterable[Mac], change: LayerChange) -> str:
    """Why the first of these devices gets nothing now, though it would under a change; else empty."""
    async for mac, now, then in _both(store, drivers, macs, change):
        if now and not then:
            return f"{mac.colons}: {now}"
    return ""


async def _both(
    store: Store, drivers: Mapping[str, VendorDriver], macs: Iterable[Mac], change: LayerChange
) -> AsyncIterator[tuple[Mac, str, str]]:
    """Each device, and what keeps it from its files now and under the change."""
    views = Views(store)
    await views.open()
    try:
        for mac in macs:
            driver, config = await _resolved(views, drivers, mac)
            if driver is not None and config is not None:
                yield mac, _cause(driver, config), _cause(driver, rehearsed(config, change))
    finally:
        await views.close()


async def _resolved(
    views: Views, drivers: Mapping[str, VendorDriver], mac: Mac
) -> tuple[VendorDriver | None, ResolvedConfig | None]:
    """Nothing where no setting can be at fault: a row is damaged, the device gone, or its model unknown."""
    try:
        view = await views.boot_view(mac)
        driver = drivers.get(view.device.vendor) if view else None
        model = driver.manifest.models.get(view.device.model) if view and driver else None
        if view is None or model is None:
            return None, None
        shared = views.shared(view.device)
        merged = shared if view.layer is None else merge([view.layer], onto=shared)
    except StoreFailed:
        return None, None
    found = resolve(mac, model, view.lines, merged, base_url=_ANY, emptied=view.emptied, wiped=view.wiped)
    return driver, found


def _cause(driver: VendorDriver, config: ResolvedConfig) -> str:
    """Of the first of its files that cannot be made."""
    model = config.model
    words = {"mac": config.mac, "MAC": config.mac.upper(), "code": model.code, "part": model.part_number}
    for name in driver.manifest.files.get(model.dialect, ()):
        file = driver.match(name.format_map(words), "")
        if file is None or file.upload or file.kind in _NOT_MADE:
            continue
        try:
            driver.render(file, config)
        except NoSuchFile:
            continue  # 404 is this file's normal answer for this model
        except RenderFailed as error:
            return error.cause
    return ""
