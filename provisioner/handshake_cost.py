"""What a full handshake with a phone costs this machine, tried for a second with the server's own certificates."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from provisioner.http.contexts import make_context
from provisioner.model import ListenerKind

_MOST: Final = 65536
"""Bytes moved between the two ends at a time."""


def handshake_cost(certificates: Sequence[Path], seconds: float = 1.0) -> float:
    """CPU seconds on the server's side: RSA with TLS 1.2, the dear case; the median of as many as fit into the time."""
    server, client = make_context(ListenerKind.DEVICE, certificates, b""), _phone()
    spent, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        spent.append(_one(server, client))
    return sorted(spent)[len(spent) // 2]


def _phone() -> SSL.Context:
    """A client with an RSA-2048 certificate of its own making: a factory's chain costs about 0.1 ms more."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "handshake trial")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.use_certificate(made.sign(key, hashes.SHA256()))
    context.use_privatekey(key)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(b"ECDHE-RSA-AES128-GCM-SHA256")
    return context


def _one(server_context: SSL.Context, client_context: SSL.Context) -> float:
    server, client = SSL.Connection(server_context, None), SSL.Connection(client_context, None)
    server.set_accept_state()
    client.set_connect_state()
    spent, done = 0.0, {client: False, server: False}
    while not all(done.values()):
        done[client] = _turn(client, server)
        begun = time.thread_time()
        done[server] = _turn(server, client)
        spent += time.thread_time() - begun
    return spent


def _turn(mine: SSL.Connection, other: SSL.Connection) -> bool:
    """Go on as far as what has come allows, and hand over what is to be sent."""
    try:
        mine.do_handshake()
        done = True
    except SSL.WantReadError:
        done = False
    try:
        other.bio_write(mine.bio_read(_MOST))
    except SSL.WantReadError:
        return done
    return done
