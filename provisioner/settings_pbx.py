"""Settings of the activation prompts behind other people's telephone systems; part of Settings, a file of their own."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.knobs import knob
from provisioner.settings_api import ApiSettings


@dataclass(frozen=True, slots=True)
class PbxSettings(ApiSettings):
    """``agi.*`` for Asterisk, which connects to us; ``hooks.*`` for systems that ask by HTTP."""

    agi_port: int = knob(-1, "port", "FastAGI, 4573 for Asterisk; -1 is off", -1, 65535)
    agi_host: str = knob("", "address", "where Asterisk connects; empty: the same as ivr.host")
    agi_peers: tuple[str, ...] = knob(
        (), "CIDR networks", "of the Asterisks that may connect; FastAGI knows no password, so nobody else is let in"
    )
    agi_vouched: tuple[str, ...] = knob(
        (), "CIDR networks", "of those that challenge each phone as its Mac: what they say counts as the phone's proof"
    )
    agi_calls: int = knob(100, "calls", "at once, a connection each; beyond them the dialplan goes on", 1, 10_000)
    agi_rate: float = knob(20.0, "connections/s", "of one Asterisk: a hundred phones unpacked together", 0.1, 10_000)
    agi_folder: str = knob("activation", "folder", "of the recordings, below Asterisk's sounds of a language")
    agi_header: str = knob("MAC", "SIP header", "in which some phones say their Mac: a hint, anybody can send one")

    hooks_port: int = knob(-1, "port", "HTTP(S) for the systems of hooks.on; -1 is off", -1, 65535)
    hooks_host: str = knob("", "address", "where they ask; empty: the same as ivr.host")
    hooks_tls: bool = knob(
        True, "true | false", "HTTPS with the server's own certificates; false on loopback or behind hooks.proxies"
    )
    hooks_on: tuple[str, ...] = knob(
        (), "twilio, telnyx, kazoo, httapi, rest", "systems that may ask; each needs its secret"
    )
    hooks_vouched: tuple[str, ...] = knob(
        (), "twilio, httapi, rest", "those that challenge each phone as its Mac: the user they name counts as its proof"
    )
    hooks_url: str = knob(
        "", "URL", "https://HOST of this listener as the others call it, also behind proxies; Twilio signs it"
    )
    hooks_proxies: tuple[str, ...] = knob(
        (), "CIDR networks", "of proxies of our own in front: the address in their X-Forwarded-For is believed"
    )
    hooks_connections: int = knob(200, "connections", "at once; more wait in the kernel's queue", 1, 100_000)
    hooks_rate: float = knob(
        100.0, "requests/s", "of one address; FreeSWITCH sends one for each key of a hundred callers", 0.1, 10_000
    )
    hooks_calls: int = knob(
        200, "calls", "of each system at once; beyond them callers hear that all lines are busy", 1, 10_000
    )
    hooks_voice: str = knob(
        "", "language", "like en-US: Twilio, Telnyx and Kazoo read the texts themselves; empty: our recordings"
    )
    hooks_twilio: str = knob("twilio.token", "file", "below DATA: the account's auth token in one line")
    hooks_telnyx: str = knob("telnyx.key", "file", "below DATA: the account's public key, base64, in one line")
    hooks_kazoo: str = knob(
        "kazoo.secret", "file", "below DATA: last part of the URL, as Kazoo signs nothing; 16 letters, digits, - and _"
    )
    hooks_httapi: str = knob(
        "httapi.secret", "file", "below DATA: last part of the URL, as FreeSWITCH signs nothing; like Kazoo's"
    )
    hooks_httapi_peers: tuple[str, ...] = knob(
        (), "CIDR networks", "of the FreeSWITCHes that may ask, whose word nothing but the secret proves"
    )
    hooks_httapi_sounds: str = knob(
        "", "folder or URL", "of the recordings, as FreeSWITCH finds them; empty: fetched from hooks.url"
    )
    hooks_rest: str = knob("rest.tokens", "file", "below DATA: bearer tokens, one a line, 16 characters or more")
