"""Whoever saves says which version they have seen; where it is another by now, nothing is saved and they look again."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.errors import Stale
from provisioner.http.api.etags import etag_of
from provisioner.http.api.status import plain
from provisioner.http.console.pages import Call


def version_of(said: Mapping[str, object]) -> str:
    """Changes with anything that can be edited on a page."""
    return etag_of({name: plain(value) for name, value in said.items()})


def require_version(call: Call, said: Mapping[str, object], what: str) -> None:
    """Stale where somebody else was quicker; what was typed stays in the form."""
    if call.form.raw("version") != version_of(said):
        raise Stale(f"somebody has changed this {what} since you opened it: look at it as it is now, then save again")
