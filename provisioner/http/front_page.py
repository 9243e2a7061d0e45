"""The first page of the admin edge: what else can be looked at here. Plain links, and nothing of the installation."""

from __future__ import annotations

from html import escape
from typing import Final

from provisioner.http.storm_page import STYLE

_PAGES: Final = {
    "/storm": "who is served when: a live graph of callers, waits and boots",
    "/storm.json": "the same for programs",
    "/health": "whether phones can be served, for monitoring: 200, or 503",
    "/metrics": "counters and gauges of all workers, for Prometheus",
}


def front() -> bytes:
    """The whole page; it goes with the headers of the storm view."""
    rows = "".join(f'<p><a href="{path}">{path}</a> {escape(text)}</p>' for path, text in _PAGES.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Provisioning server</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>Provisioning server</h1><main>{rows}</main>"
        '<p class="key">Nothing can be changed here.</p></body></html>\n'
    ).encode()
