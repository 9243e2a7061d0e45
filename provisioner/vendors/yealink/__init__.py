"""Yealink phones and DECT bases: one line format, two firmware dialects, models as data."""

from provisioner.vendors.yealink.driver import Yealink

__all__ = ["Yealink"]
