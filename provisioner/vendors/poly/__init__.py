"""Poly: UC Software phones in ``ucs``, OBi and ATA adapters in ``obi``; the driver tells them apart by dialect."""

from provisioner.vendors.poly.driver import Poly

__all__ = ["Poly"]
