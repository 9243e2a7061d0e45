"""A vendor's driver with a watch beside it: what is rendered, what comes of it, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

from provisioner.errors import NoSuchFile
from provisioner.model import Count, DeviceFile, Observe, ResolvedConfig
from provisioner.vendor import VendorDriver


class Metered:
    """A VendorDriver like the one it is given; its other verbs are the driver's own, at no cost."""

    def __init__(
        self, driver: VendorDriver, count: Count, observe: Observe, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.manifest = driver.manifest
        self.identify = driver.identify
        self.match = driver.match
        self.resync_event = driver.resync_event
        self.check_raw = driver.check_raw
        self._render = driver.render
        self._count = count
        self._observe = observe
        self._clock = clock
        vendor = driver.manifest.name
        self._done, self._absent, self._failed = f"{vendor}_done", f"{vendor}_absent", f"{vendor}_failed"

    def render(self, file: DeviceFile, config: ResolvedConfig) -> bytes:
        """The driver's render, timed; a file that this model does not have is no failure."""
        outcome, begun = self._failed, self._clock()
        try:
            body = self._render(file, config)
            outcome = self._done
        except NoSuchFile:
            outcome = self._absent
            raise
        finally:
            self._observe("render", self._clock() - begun)
            self._count("renders", outcome)
        return body
