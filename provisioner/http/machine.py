"""TLS as a machine of bytes: ciphertext in, plaintext out and back; no socket, no clock, no exception for bad input.

The C functions are called without pyOpenSSL's wrappers: per connection that saves 12 µs of calls and exceptions.
One Buffers is shared by all machines of a worker: nothing in it outlives the call that filled it.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

RECORD: Final = 16 * 1024
"""Largest plaintext of a TLS record (RFC 8446 section 5.1)."""
SENDING: Final = 64 * 1024
"""Ciphertext produced before the socket is asked to take it."""
_HEADROOM: Final = 4096
"""What records add to 64 KiB of plaintext, and session tickets that wait to be sent with it."""

_RECORD_HEAD: Final = 5
_ALERT: Final = 0x15
_HIDDEN: Final = 0x17
"""TLS 1.3 sends whatever is encrypted as application data (RFC 8446 section 5.2)."""
_PLAIN_ALERT: Final = 2
_HIDDEN_ALERT: Final = 19
"""bytes: level, description, the real type and a tag of 16. No other message of a server in a handshake is as short."""

_WANT_READ: Final = lib.SSL_ERROR_WANT_READ
_CLOSE_NOTIFY: Final = lib.SSL_ERROR_ZERO_RETURN

_read, _write, _get_error, _clear = lib.SSL_read, lib.SSL_write, lib.SSL_get_error, lib.ERR_clear_error
_pending, _waiting = lib.SSL_pending, lib.BIO_get_mem_data
_bio_read, _bio_write, _unpack, _from_buffer = lib.BIO_read, lib.BIO_write, ffi.unpack, ffi.from_buffer

_KNOWN_FAULTS: Final = {
    "no shared cipher": "no_shared_cipher",
    "no suitable signature algorithm": "no_shared_cipher",
    "no shared group": "no_shared_group",
    "unsupported protocol": "old_version",
    "version too low": "old_version",
    "wrong version number": "wrong_version",
    "no application protocol": "no_http11",
    "bad signature": "bad_signature",
    "excessive message size": "too_large",
}


class Hello(Enum):
    """What the first bytes of a connection are."""

    CLIENT_HELLO = "client_hello"
    MORE = "more"
    PLAIN_HTTP = "plain_http"
    SSLV2 = "sslv2"
    NOT_TLS = "not_tls"


class Buffers:
    """What one worker reads into and sends from, whatever the number of its connections."""

    __slots__ = ("cipher", "cipher_view", "incoming", "incoming_c", "incoming_view", "plain", "start")

    def __init__(self) -> None:
        self.incoming = bytearray(SENDING)
        self.incoming_view = memoryview(self.incoming)
        self.incoming_c = ffi.from_buffer(self.incoming)
        self.plain = ffi.new("char[]", RECORD)
        self.start = ffi.new("char **")
        self.cipher = ffi.new("char[]", SENDING + _HEADROOM)
        self.cipher_view = memoryview(ffi.buffer(self.cipher))


def classify(first: bytes | bytearray | memoryview) -> Hello:
    """Say whether the first bytes are a whole record that starts a ClientHello, before any TLS state exists."""
    if len(first) < 3:
        return Hello.MORE if not first or first[0] == 0x16 or first[0] & 0x80 or _is_upper(first[0]) else Hello.NOT_TLS
    if first[0] == 0x16 and first[1] == 3:
        return _record(first)
    if first[0] & 0x80 and first[2] == 1:  # two-byte SSLv2 length with its top bit, then CLIENT-HELLO
        return Hello.SSLV2
    return Hello.PLAIN_HTTP if all(_is_upper(one) for one in first[:3]) else Hello.NOT_TLS


def _is_upper(byte: int) -> bool:
    return 0x41 <= byte <= 0x5A


def _record(first: bytes | bytearray | memoryview) -> Hello:
    if len(first) < 6:
        return Hello.MORE
    length = first[3] << 8 | first[4]
    if first[5] != 1 or not 4 <= length <= RECORD:
        return Hello.NOT_TLS
    return Hello.CLIENT_HELLO if len(first) >= 5 + length else Hello.MORE


class Machine:
    """One server-side TLS connection between two memory buffers."""

    __slots__ = ("_buffers", "_in", "_out", "_ssl", "closed_by_peer", "connection", "fault")

    def __init__(self, context: SSL.Context, buffers: Buffers) -> None:
        self.connection = SSL.Connection(context, None)
        self.connection.set_accept_state()
        self._ssl: Any = self.connection._ssl
        self._in: Any = self.connection._into_ssl
        self._out: Any = self.connection._from_ssl
        self._buffers = buffers
        self.fault = ""
        """Why this connection is beyond repair: ``alert_<name>`` when the peer said so, else what we found."""
        self.closed_by_peer = False
        """The peer has sent close_notify: it will send nothing more."""

    def feed(self, ciphertext: bytes | bytearray) -> None:
        """Take ciphertext in."""
        _bio_write(self._in, _from_buffer(ciphertext), len(ciphertext))

    def feed_incoming(self, size: int) -> None:
        """Take in the first ``size`` bytes of the shared receive buffer."""
        _bio_write(self._in, self._buffers.incoming_c, size)

    def handshake(self) -> bool:
        """Go on with the handshake; True once it is complete. False with ``fault`` set is the end."""
        _clear()
        result = lib.SSL_do_handshake(self._ssl)
        if result == 1:
            return True
        self._explain(result)
        return False

    def read(self) -> bytes:
        """The next record's plaintext; empty when there is none yet, or none ever: ``fault``, ``closed_by_peer``."""
        _clear()
        plain = self._buffers.plain
        result = _read(self._ssl, plain, RECORD)
        if result > 0:
            return bytes(_unpack(plain, result))
        self._explain(result)
        return b""

    @property
    def drained(self) -> bool:
        """Nothing more can be read before more comes in; asking costs a third of a read in vain."""
        return not _pending(self._ssl) and _waiting(self._in, self._buffers.start) <= 0

    @property
    def unread(self) -> int:
        """Bytes of ciphertext taken in that OpenSSL has not looked at yet."""
        return int(max(_waiting(self._in, self._buffers.start), 0))

    def write(self, plaintext: bytes | memoryview) -> int:
        """Encrypt at most one record; returns how much of the plaintext it holds, 0 when the connection is broken."""
        _clear()
        result = int(_write(self._ssl, _from_buffer(plaintext), min(len(plaintext), RECORD)))
        if result > 0:
            return result
        self._explain(result)
        return 0

    def outgoing(self) -> memoryview:
        """Ciphertext to send, a view of the shared buffer: use or copy it before anything else."""
        size = _bio_read(self._out, self._buffers.cipher, SENDING + _HEADROOM)
        return self._buffers.cipher_view[: max(size, 0)]

    @property
    def alert(self) -> int:
        """The alert that waits to be sent, as its number (RFC 8446 section 6); 0 without one, -1 for an encrypted one.

        Read from the records that wait: a callback would be asked some forty times in each good handshake.
        """
        size = _waiting(self._out, self._buffers.start)
        records = bytes(_unpack(self._buffers.start[0], size)) if size > 0 else b""
        found = 0
        while len(records) >= _RECORD_HEAD:
            length = records[3] << 8 | records[4]
            if records[0] == _ALERT:
                found = records[6] if length == _PLAIN_ALERT and len(records) > 6 else -1
            elif records[0] == _HIDDEN and length <= _HIDDEN_ALERT:
                found = -1
            records = records[_RECORD_HEAD + length :]
        return found

    @property
    def cipher(self) -> str:
        """OpenSSL's name of the agreed suite; empty before there is one."""
        cipher = lib.SSL_get_current_cipher(self._ssl)
        return "" if cipher == ffi.NULL else bytes(ffi.string(lib.SSL_CIPHER_get_name(cipher))).decode()

    def say_goodbye(self) -> None:
        """Produce our close_notify (RFC 8446 section 6.1), unless the connection is broken already."""
        if not self.fault:
            _clear()
            lib.SSL_shutdown(self._ssl)

    def slim(self) -> None:
        """Give back what the memory buffers have grown to; for a machine that has nothing to read or to send."""
        start = self._buffers.start
        if _waiting(self._in, start) > 0 or _waiting(self._out, start) > 0:
            return
        into, out = lib.BIO_new(lib.BIO_s_mem()), lib.BIO_new(lib.BIO_s_mem())
        lib.SSL_set_bio(self._ssl, into, out)  # frees the old ones
        self._in, self._out = into, out
        self.connection._into_ssl, self.connection._from_ssl = into, out

    @property
    def version(self) -> str:
        """Protocol version: ``TLSv1.3``."""
        return bytes(ffi.string(lib.SSL_get_version(self._ssl))).decode()

    def _explain(self, result: int) -> None:
        error = _get_error(self._ssl, result)
        if error == _WANT_READ:
            return
        if error == _CLOSE_NOTIFY:
            self.closed_by_peer = True
            return
        self.fault = _fault_name(_reason())


def _reason() -> str:
    text = ""
    while code := lib.ERR_get_error():
        reason = lib.ERR_reason_error_string(code)
        if reason != ffi.NULL and (not text or "alert" in text):
            text = text or bytes(ffi.string(reason)).decode()
    return text


def _fault_name(reason: str) -> str:
    """A label from a closed set: OpenSSL's alert names, a few faults worth telling apart, and the rest."""
    head, alert, name = reason.partition(" alert ")
    if alert and head:
        return "alert_" + name.replace(" ", "_")
    return _KNOWN_FAULTS.get(reason, "handshake_failed")
