"""What devices would fetch now, from what all of them share in memory: one look at the database for a device."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from provisioner.activation_offer import Moment, Offers
from provisioner.activation_secret import ENTROPY, PURPOSE
from provisioner.deeds import Cure, Deed
from provisioner.errors import NotFound
from provisioner.model import Mac
from provisioner.neutral import ACTIVATION
from provisioner.preview import Preview
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.views import Views
from provisioner.vendor import VendorDriver


@dataclass(frozen=True, slots=True)
class LiveRenders:
    """As the device edge would make them."""

    store: Store
    views: Views
    drivers: Mapping[str, VendorDriver]
    settings: Settings
    base_url: Callable[[], str]
    authority: str
    """Our CA, if any."""
    clock: Callable[[], float]

    async def of(self, mac: Mac) -> Preview:
        """NotFound when nobody has added the device."""
        view = await self.views.boot_view(mac)
        if view is None:
            raise NotFound(f"there is no device {mac.colons}", cure=Cure(Deed.ADD_DEVICE, mac))
        found = Preview.of(self.drivers[view.device.vendor], view, self.views.shared(view.device), self.base_url())
        if view.lines or not found.config.get(ACTIVATION):
            return found
        offers = Offers(self.settings, lambda: self.store.box.derived(PURPOSE)[0], self.authority)
        moment = Moment(self.clock(), os.urandom(ENTROPY))
        return replace(found, config=offers.configuration(found.config, moment, site=view.device.site, known=True))
