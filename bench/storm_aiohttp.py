"""The comparator aiohttp: its own run_app(ssl_context=...), files from memory, client certificates required.

A program of its own: ``python bench/storm_aiohttp.py PORT ROOT CAS CERTIFICATE [CERTIFICATE]``.
"""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

from aiohttp import web


def application(root: Path) -> web.Application:
    """Every file below the root; 404 for the others."""
    files = {f"/{path.relative_to(root).as_posix()}": path.read_bytes() for path in root.rglob("*") if path.is_file()}

    async def serve(request: web.Request) -> web.Response:
        body = files.get(request.path)
        if body is None:
            return web.Response(status=404)
        return web.Response(body=body, content_type="application/xml")

    made = web.Application()
    made.router.add_route("GET", "/{name:.*}", serve)
    return made


def tls(cas: str, certificates: list[str]) -> ssl.SSLContext:
    """As any tutorial would have it, with both of the server's certificates."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cas)
    for one in certificates:
        made.load_cert_chain(one)
    return made


def main() -> None:
    """Serve until told to stop."""
    port, root, cas, *certificates = sys.argv[1:]
    web.run_app(
        application(Path(root)),
        host="127.0.0.1",
        port=int(port),
        ssl_context=tls(cas, certificates),
        access_log=None,
        print=None,
        handle_signals=True,
    )


if __name__ == "__main__":
    main()
