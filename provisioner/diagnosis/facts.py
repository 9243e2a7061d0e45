"""One thing that one witness saw of one phone; every witness speaks in these, and the ladder reads nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from provisioner.errors import Invalid


class Source(StrEnum):
    """Who saw it."""

    SERVER = "server"
    """This server's own records."""
    CAPTURE = "capture"
    """Frames."""
    SWITCH = "switch"
    """What a switch says by SNMP."""
    INVENTORY = "inventory"
    """What administrators have said of the phone."""


class Kind(StrEnum):
    """What was seen; beside each the names of its values. A value that is not known is left out.

    Any fact may say whose=maybe: it may be of another phone at the same address, or of who takes this one's name.
    """

    # --- inventory and switch
    DEVICE = "device"
    """state (as model.DeviceState, or unknown: nobody has added it), vendor, model, account, lines (how many are
    bound), verdict_wanted, min_firmware, firmware, last_seen (epoch seconds), configuration (current|behind), changed
    (epoch seconds: the first change that it lacks), wiped (yes)"""
    PORT = "port"
    """switch, port, link (up|down), vlan (where the Mac is learned), macs (on this port),
    poe (delivering|searching|fault|off|none)"""
    VLAN_OFFERED = "vlan_offered"
    """vlan (empty: LLDP without a policy), tagged (yes|no), by (lldp|cdp|dhcp|switch), dscp"""
    VLAN_USED = "vlan_used"
    """vlan, by (frames|lldp|fdb)"""
    DISCOVERY = "discovery"
    """by (lldp|cdp), sender (phone|switch|other), mac, name, chassis, port, port_description, description, model,
    power, native_vlan, manufacturer, serial, firmware, software"""
    # --- link
    FRAME = "frame"
    """first frame of the phone: vlan (0 = untagged); silent=yes when frames of others but none of it were seen"""
    EAP = "eap"
    """code (start|request|response|success|failure), method, by (phone|server)"""
    # --- addressing
    DHCP = "dhcp"
    """version (4|6), type (discover|offer|request|ack|nak|decline|inform), sender (phone|server), vlan, server,
    address, lease, router, dns, ntp, vendor_class, asked (option numbers, comma between), option_<n> (text of boot
    options 43 66 67 120 125 128 132 150 159 160 161; of DHCPv6 17 59), sname, file, next_server, relay, domain,
    message, client, overload (yes), full (boot options that hold as many bytes as an option can, or nearly)"""
    ADDRESS_CONFLICT = "address_conflict"
    """address, holder (the other Mac)"""
    DNS = "dns"
    """type (query|answer), name, record, server, rcode, addresses (what SRV, NAPTR and CNAME lead to among them),
    truncated (yes)"""
    NTP = "ntp"
    """type (query|answer), server, stratum, time (epoch seconds)"""
    TFTP = "tftp"
    """type (request|error|data), file, error, server"""
    # --- reaching a server; every fact of one connection has the same ``connection``
    ACCEPTED = "accepted"
    """connection, address, port, listener: a TCP connection has reached this server"""
    SYN = "syn"
    """connection, to, port, times, at_server (yes|no|answered: where the server's side was captured as well)"""
    SYN_ACK = "syn_ack"
    """connection, times"""
    RESET = "reset"
    """connection, by (phone|server|between), after (syn|hello|handshake|request|answer), ttl, ttl_syn_ack"""
    UNREACHABLE = "unreachable"
    """connection, by, code (admin|host|port|net|fragmentation), mtu, to, port"""
    STALLED = "stalled"
    """connection, in (hello|handshake|request|answer), retransmits, sacked, lost, unacked (TCP_INFO, or counted in
    frames), resent (all segments sent again), rtt (ms), path_mtu; hello: none has come, or not all of it;
    waits_for (phone|server), seconds"""
    RETRANSMITTED = "retransmitted"
    """connection, by (phone|server), times, bytes"""
    # --- TLS
    HELLO = "hello"
    """connection, sni, versions, suites, signature_algorithms, by=phone, random (a hash of it, other in each hello)"""
    SERVER_HELLO = "server_hello"
    """connection, version, suite"""
    CHAIN = "chain"
    """connection, by (phone|server), length, subject, issuer, not_before, not_after (epoch seconds), key, signature,
    root (issuer of the last), names (SAN, comma between), unreadable (why); length=0 when an empty Certificate was
    sent, sure=no where that is told by the shape of records alone; hidden=yes: one was sent, TLS 1.3 hides it"""
    CERTIFICATE_REQUEST = "certificate_request"
    """connection, by, names (how many CAs), cas (some of them), types"""
    ALERT = "alert"
    """connection, by (phone|server), code, name, level (warning|fatal), sure (no: it was encrypted, the code follows
    from the fault)"""
    TLS_DONE = "tls_done"
    """connection, version, suite, resumed (yes|no)"""
    TLS_REFUSED = "tls_refused"
    """connection, by (phone|server), why (the server's label, or record_shape), sure (yes|no)"""
    CLOSED = "closed"
    """connection, by (phone|server), after (as RESET), bytes (of the server's answers)"""
    VERDICT = "verdict"
    """connection, verdict (model.Verdict), why, vendor, subject, issuer, certificate_mac"""
    # --- HTTP and after
    REQUEST = "request"
    """connection, method, path, file, user_agent, host, authorization (the scheme alone),
    class (p0..p3, how admission ranks it), accepts (encodings; empty: it has asked for none)"""
    ANSWER = "answer"
    """connection, status, bytes, etag, type, reason (the server's word for a refusal), why (in words), file,
    complete (yes|no), retry_after, held (s that admission let it wait), location, asks_for (scheme of
    authentication), encoding, looks (page|gzip|binary|text: by its first bytes), mac (whose the file says it is)"""
    REFUSED_EARLY = "refused_early"
    """connection, by (gate|admission), why, retry_after"""
    UPLOAD = "upload"
    """file, bytes"""
    NOTIFY = "notify"
    """result, status, way, event"""
    REGISTER = "register"
    """type (request|answer), status, to (address:port that is asked), registrar, user,
    authorization (the scheme alone), reason"""
    PNP = "pnp"
    """type (subscribe|notify), from, url"""
    ICMP_LOST = "icmp_lost"
    """what of the network dropped or shortened: code, mtu, by, to"""
    SYSLOG = "syslog"
    """text, severity: a line that the phone wrote"""
    TELEPHONE_EVENT = "telephone_event"
    """to, keys: how many were keyed by RFC 4733, and never which"""
    # --- of a witness itself
    DROPPED = "dropped"
    """frames: how many a capture has lost; with any, nothing may be concluded from silence; connection and by where
    only that one's were lost"""
    BROKEN = "broken"
    """why: a frame or file that could not be read"""


@dataclass(frozen=True, slots=True)
class Witness:
    """Where it can be looked up: ``record 4711``, ``phone.pcap frame 14``, an OID."""

    source: Source
    ref: str

    def __str__(self) -> str:
        return f"{self.source}: {self.ref}"


@dataclass(frozen=True, slots=True)
class Fact:
    """``at`` is in epoch seconds. ``values`` are text without secrets, as ``Kind`` says."""

    kind: Kind
    at: float
    witness: Witness
    values: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")


def as_line(fact: Fact) -> dict[str, object]:
    """For JSON: one object a fact."""
    return {
        "kind": str(fact.kind),
        "at": fact.at,
        "source": str(fact.witness.source),
        "ref": fact.witness.ref,
        "values": dict(fact.values),
    }


def of_line(said: object) -> Fact:
    """A fact out of JSON; Invalid for what is none."""
    if not isinstance(said, dict):
        raise Invalid("fact", "an object is expected")
    values = said.get("values", {})
    at = said.get("at")
    if not isinstance(values, dict) or isinstance(at, bool) or not isinstance(at, (int, float)):
        raise Invalid("fact", "it needs at, a number, and values, an object")
    try:
        kind, source = Kind(str(said.get("kind"))), Source(str(said.get("source")))
    except ValueError as error:
        raise Invalid("fact", str(error)) from error
    return Fact(kind, float(at), Witness(source, str(said.get("ref", ""))), {str(k): str(v) for k, v in values.items()})
