"""TLS contexts and what they prove: TLS completes with any certificate and notes its faults; identity decides.

The three functions of OpenSSL's C interface that pyOpenSSL does not offer (a verify callback that costs nothing for a
good certificate, a strict ALPN answer, "was this session resumed") are called here and in machine.py, nowhere else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL, crypto
from OpenSSL._util import ffi, lib

from provisioner.errors import Unusable
from provisioner.model import ListenerKind, PeerCert, TlsFacts

MAX_CHAIN: Final = 5
"""Leaf, issuing, policy, root and one more: the longest factory chain known has four (Polycom)."""
MAX_SHOWN: Final = 8
"""Certificates kept of what a peer has sent, for people to look at."""
_SESSION_LIFE: Final = 3600
"""Seconds a ticket is good for; the keys live as long as the workers' generation."""

_MODERN_CIPHERS: Final = ":".join(
    f"ECDHE-{key}-{cipher}"
    for key in ("ECDSA", "RSA")  # a P-256 signature costs the server a tenth of an RSA one
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-SHA256", "AES256-SHA384")
)
# No finite-field DHE anywhere: CVE-2002-20001 makes the server pay for it.
_NEVER: Final = "!aNULL:!eNULL:!PSK:!SRP:!EXPORT:!RC4:@SECLEVEL=0"
_OLD_CIPHERS: Final = f"kECDHE:{_NEVER}"
_LEGACY_CIPHERS: Final = f"kECDHE:kRSA:{_NEVER}"
_MEND: Final = "restore it, or run `provisioner certs renew-server`, which makes new ones of the same CA"
_PARTS: Final = "it needs the key, the certificate, its chain"
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
_KEY: Final = re.compile(rb"-----BEGIN ([A-Z ]{0,20}PRIVATE KEY)-----.+?-----END \1-----\n?", re.DOTALL)
_TLS13_CIPHERS: Final = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"


def make_context(
    kind: ListenerKind, certificates: Sequence[Path], ca_pem: bytes, *, rsa_exchange: bool = False
) -> SSL.Context:
    """The context of one listener; build it before the workers fork, so that its ticket keys are theirs too.

    ``certificates`` are PEM files of key and chain, one per key type. Unusable says which file is wrong and why.
    ``rsa_exchange``: the profile listener takes the key exchange by RSA alone, which the legacy listener always does.
    """
    if not certificates:
        raise Unusable("tls.certificates is empty: `provisioner init` makes an RSA and a P-256 certificate")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    _set_protocol(context, kind, rsa_exchange=rsa_exchange)
    for path in certificates:
        _load_certificate(context, path)
    _trust(context, ca_pem)
    context.set_verify_depth(MAX_CHAIN)
    # No list of CA names is sent: a phone that sees none sends whatever certificate it has.
    # A session of one listener is worth nothing on another (CVE-2025-23419).
    context.set_session_id(f"provisioner/{kind}".encode())
    context.set_timeout(_SESSION_LIFE)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # tickets alone: they hold in every worker and cost no memory
    # pyOpenSSL's own wrappers build an X509 object per certificate and call; these two return at once.
    lib.SSL_CTX_set_verify(context._context, SSL.VERIFY_PEER, _note_trouble)
    lib.SSL_CTX_set_alpn_select_cb(context._context, _choose_http11, ffi.NULL)
    return context


def peer_cert(connection: SSL.Connection) -> PeerCert | None:
    """The certificate the peer has proven to own, with the chain and everything OpenSSL found wrong with it."""
    resumed = was_resumed(connection)
    # Never the chain as it was sent: a stranger may append our root to it.
    if not resumed and (chain := _verified_chain(_ssl(connection))):
        return PeerCert(chain[0], chain, connection.get_app_data() or ())
    leaf = connection.get_peer_certificate()
    if leaf is None:
        return None
    der = _der(leaf)
    if resumed:
        # The ticket carries the first error of the handshake that made it, not the chain.
        code = lib.SSL_get_verify_result(_ssl(connection))
        return PeerCert(der, errors=((code, 0),) if code else (), resumed=True)
    return PeerCert(der, (der,), connection.get_app_data() or ())


def presented_chain(connection: SSL.Connection) -> tuple[bytes, ...]:
    """The certificates as the peer has sent them, its own first; that one alone on a resumed session.

    Good for nothing but to be looked at: a stranger may send anybody's CAs along.
    """
    leaf = connection.get_peer_certificate()
    if leaf is None:
        return ()
    stack = lib.SSL_get_peer_cert_chain(_ssl(connection))
    return (_der(leaf), *(() if stack == ffi.NULL else _ders(stack)))[:MAX_SHOWN]


def _verified_chain(ssl: Any) -> tuple[bytes, ...]:
    """DER, leaf first, empty without one; by way of one buffer and no pyOpenSSL object, which saves 20 µs of 30."""
    stack = lib.SSL_get0_verified_chain(ssl)
    return () if stack == ffi.NULL else _ders(stack)


def _ders(stack: Any) -> tuple[bytes, ...]:
    bio, start, ends = lib.BIO_new(lib.BIO_s_mem()), ffi.new("char **"), [0]
    try:
        for index in range(lib.sk_X509_num(stack)):
            lib.i2d_X509_bio(bio, lib.sk_X509_value(stack, index))
            ends.append(lib.BIO_get_mem_data(bio, start))
        whole = bytes(ffi.buffer(start[0], ends[-1]))
    finally:
        lib.BIO_free(bio)
    return tuple([whole[begin:end] for begin, end in pairwise(ends)])


def tls_facts(connection: SSL.Connection) -> TlsFacts:
    """Version, cipher and server name of an established connection."""
    name = connection.get_servername() or b""
    return TlsFacts(
        version=connection.get_protocol_version_name(),
        cipher=connection.get_cipher_name() or "",
        sni=name[:255].decode("ascii", "backslashreplace"),
        resumed=was_resumed(connection),
    )


def was_resumed(connection: SSL.Connection) -> bool:
    """Whether the session came from a ticket, so that no certificate was verified on this connection."""
    return bool(lib.SSL_session_reused(_ssl(connection)))


def _ssl(connection: SSL.Connection) -> Any:
    return connection._ssl


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _set_protocol(context: SSL.Context, kind: ListenerKind, *, rsa_exchange: bool) -> None:
    legacy = kind in (ListenerKind.LEGACY, ListenerKind.PROFILE)
    context.set_min_proto_version(SSL.TLS1_VERSION if legacy else SSL.TLS1_2_VERSION)
    context.set_options(
        SSL.OP_NO_RENEGOTIATION  # CVE-2011-1473
        | SSL.OP_NO_COMPRESSION  # CRIME
        | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    # An idle connection gives its record buffers back: 11 KiB less of 47.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(_ciphers(kind, rsa_exchange=rsa_exchange).encode())
    context.set_tls13_ciphersuites(_TLS13_CIPHERS)


def _ciphers(kind: ListenerKind, *, rsa_exchange: bool) -> str:
    if kind is ListenerKind.LEGACY or (kind is ListenerKind.PROFILE and rsa_exchange):
        return _LEGACY_CIPHERS
    return _OLD_CIPHERS if kind is ListenerKind.PROFILE else f"{_MODERN_CIPHERS}:@SECLEVEL=2"


def _load_certificate(context: SSL.Context, path: Path) -> None:
    """Key, certificate and chain come from one read: a renewal in between cannot mix the old with the new."""
    try:
        content = path.read_bytes()
        chain = x509.load_pem_x509_certificates(content)
        # A chain of its own for each key type is what pyOpenSSL takes from a file only: a file in memory, then.
        with os.fdopen(os.memfd_create("certificate"), "wb", buffering=0) as copy:
            copy.write(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain))
            context.use_certificate_chain_file(f"/proc/self/fd/{copy.fileno()}")
        key = _private_key(path, content)
        if key.public_key() != chain[0].public_key():  # OpenSSL looks among the keys of the other files, too
            raise Unusable(f"{path}: its key does not belong to its certificate; {_MEND}")
        context.use_privatekey(key)
        context.check_privatekey()
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}; tls.certificates names it: {_MEND}") from error
    except ValueError as error:
        raise Unusable(f"{path} holds no readable certificate; {_PARTS}; {_MEND}") from error
    except SSL.Error as error:
        raise Unusable(f"{path}: key or certificate is too weak ({_words(error)}); {_MEND}") from error
    now = datetime.now(UTC)
    first, last = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    if not first <= now <= last:
        raise Unusable(
            f"{path} is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}, not now: phones would refuse it. Set the clock "
            "or renew it: `provisioner certs renew-server` makes new ones of the same CA"
        )


def _private_key(path: Path, content: bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """Read here and not by OpenSSL, which asks for the passphrase of an encrypted key on the terminal and waits."""
    found = _KEY.search(content)
    try:
        key = serialization.load_pem_private_key(found[0], None) if found else None
    except TypeError as error:
        raise Unusable(
            f"{path}: its key is encrypted and nobody is there to unlock it; store it in the clear"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unusable(f"{path}: its key cannot be read; {_PARTS}; {_MEND}") from error
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        raise Unusable(f"{path} holds no RSA or EC key; {_PARTS}; {_MEND}")
    return key


def _trust(context: SSL.Context, ca_pem: bytes) -> None:
    """OpenSSL reads them itself: one factory root has serial 0, which cryptography complains about."""
    store = context.get_cert_store()
    assert store is not None
    blocks = _PEM.findall(ca_pem)
    try:
        if ca_pem.strip() and not blocks:
            raise ValueError("no certificate in it")
        for block in blocks:
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_PEM, block))
    except (ValueError, crypto.Error) as error:
        raise Unusable(f"the factory CA bundle is not PEM: {error}") from error


def _words(error: SSL.Error) -> str:
    reasons = error.args[0] if error.args else []
    return "; ".join(str(one[-1]) for one in reasons) or "unreadable"


@ffi.callback("int (*)(int, X509_STORE_CTX *)")  # type: ignore[untyped-decorator]  # cffi is untyped
def _note_trouble(ok: int, store: Any) -> int:
    """Called once per certificate and error: note what is wrong and go on, so that the verdict is identity's."""
    if not ok:
        ssl = lib.X509_STORE_CTX_get_ex_data(store, lib.SSL_get_ex_data_X509_STORE_CTX_idx())
        found = lib.X509_STORE_CTX_get_error(store), lib.X509_STORE_CTX_get_error_depth(store)
        connection = SSL.Connection._reverse_mapping[ssl]
        noted = connection.get_app_data() or ()
        if found not in noted:
            connection.set_app_data((*noted, found))
    return 1


_HTTP11 = ffi.new("unsigned char[]", b"http/1.1")


@ffi.callback("int (*)(SSL *, unsigned char **, unsigned char *, const unsigned char *, unsigned int, void *)")  # type: ignore[untyped-decorator]  # cffi is untyped
def _choose_http11(_ssl: Any, out: Any, outlen: Any, offered: Any, length: int, _arg: Any) -> int:
    """RFC 7301 section 3.2: take http/1.1 when offered, otherwise refuse with no_application_protocol."""
    names, position = bytes(ffi.buffer(offered, length)), 0
    while position < length:
        size = names[position]
        if names[position + 1 : position + 1 + size] == b"http/1.1":
            out[0], outlen[0] = _HTTP11, 8
            return int(lib.SSL_TLSEXT_ERR_OK)
        position += 1 + size
    return int(lib.SSL_TLSEXT_ERR_ALERT_FATAL)
