"""Every vendor has a package here and one line in ``drivers``."""

from __future__ import annotations

from pathlib import Path

from provisioner.rendering import Templates
from provisioner.shipped import shipped
from provisioner.vendors.poly import Poly
from provisioner.vendors.yealink import Yealink

_MAKERS = (Poly, Yealink)


def drivers(operator: Path | None = None) -> tuple[Poly | Yealink, ...]:
    """One driver a vendor; ``operator`` is the directory whose ``<vendor>/`` templates are searched first."""
    return tuple(maker(_templates(maker.__name__.lower(), operator)) for maker in _MAKERS)


def _templates(vendor: str, operator: Path | None) -> Templates:
    own = [operator / vendor] if operator else []
    return Templates([*own, shipped("templates") / vendor])
