"""What every phone's reader shares: the one way to refuse a file, and XML read with no entities at all."""

from __future__ import annotations

from collections.abc import Callable
from xml.parsers import expat  # document types are refused below, so no entity can be declared

from provisioner.errors import ProvisionerError


class Unreadable(ProvisionerError):
    """A file that breaks its own grammar: the phone applies nothing of it."""

    kind = "unreadable"


def read_xml(
    body: bytes,
    *,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None] | None = None,
    text: Callable[[str], None] | None = None,
) -> None:
    """Feed a whole document to the handlers; Unreadable when it is not well-formed or brings a DOCTYPE."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = _refuse_doctype
    if end is not None:
        parser.EndElementHandler = end
    if text is not None:
        parser.CharacterDataHandler = text
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise Unreadable(f"not well-formed XML: {error}") from error
    except (ValueError, LookupError) as error:  # an encoding that expat or Python does not have
        raise Unreadable(f"the XML declares an encoding that cannot be read: {error}") from error


def _refuse_doctype(*_: object) -> None:
    raise Unreadable("a DOCTYPE, which could declare entities, has no place in a configuration")


def neutral_transport(word: str) -> str:
    """One word for all vendors: udp, tcp, tls or naptr; a strange value comes back as it is."""
    words = {
        "0": "udp", "udponly": "udp", "udp": "udp",
        "1": "tcp", "tcponly": "tcp", "tcppreferred": "tcp", "tcp": "tcp",
        "2": "tls", "tls": "tls",
        "3": "naptr", "dnsnaptr": "naptr", "": "naptr",
    }  # fmt: skip
    return words.get(word.lower(), word)


def server_text(host: str, port: str) -> str:
    """``host`` or ``host:port``; empty, or port 0 as Poly and Yealink write it, means the transport's own."""
    return f"{host}:{port}" if host and port not in ("", "0") else host
