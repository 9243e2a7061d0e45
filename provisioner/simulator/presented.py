"""The certificates that a server shows a phone, fetched without judging them; nothing is asked for afterwards."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from provisioner.errors import ProvisionerError
from provisioner.simulator.handshake import client_context
from provisioner.simulator.phone import Flash, Phone
from provisioner.simulator.wire import Origin

_DER: Final = 2
"""_ssl.ENCODING_DER."""


class Unreachable(ProvisionerError):
    """No TCP connection: the name, the address, the port, the network."""

    kind = "unreachable"


class NoTls(ProvisionerError):
    """A connection, and no TLS session on it."""

    kind = "no_tls"


@dataclass(frozen=True, slots=True)
class Presented:
    """What came of one handshake."""

    chain: tuple[bytes, ...] = field(repr=False)
    """DER as it was sent, the server's own first."""
    version: str
    cipher: str


async def presented(phone: Phone, origin: Origin, patience: float) -> Presented:
    """Shake hands as this phone would, but believing everything; Unreachable or NoTls say why there is no chain."""
    blind = replace(phone, check_server=False)
    try:
        async with asyncio.timeout(patience):
            _, writer = await asyncio.open_connection(
                phone.address or origin.host,
                origin.port,
                ssl=client_context(blind, Flash()),
                server_hostname=origin.host if phone.persona.sends_name else "",
            )
    except TimeoutError:
        raise Unreachable(f"{origin.authority} has not answered within {patience:g} s") from None
    except ssl.SSLError as error:
        raise NoTls(_reason(error, phone)) from error
    except socket.gaierror as error:
        raise Unreachable(f"{origin.host} is no name that is known here ({error.strerror})") from error
    except OSError as error:
        if isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError):
            raise NoTls(f"{origin.authority} ended the connection during the TLS handshake") from error
        raise Unreachable(f"{origin.authority}: {os.strerror(error.errno) if error.errno else error}") from error
    tls = writer.get_extra_info("ssl_object")
    try:
        return Presented(_chain(tls), tls.version() or "", tls.cipher()[0])
    finally:
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await writer.wait_closed()


def _chain(tls: Any) -> tuple[bytes, ...]:
    """Python 3.13 has a public call; before it the same is only to be had one layer down."""
    ask = getattr(tls, "get_unverified_chain", None)
    if ask is not None:
        return tuple(ask())
    return tuple(one.public_bytes(_DER) for one in tls._sslobj.get_unverified_chain())


def _reason(error: ssl.SSLError, phone: Phone) -> str:
    reason = (error.reason or "it broke").lower().replace("_", " ")
    lowest, highest = phone.tls_min or phone.persona.tls_min, phone.tls_max or phone.persona.tls_max
    offered = lowest if lowest == highest else f"{lowest} to {highest}"
    return f"no TLS session: {reason}; the phone offered TLS {offered}"
