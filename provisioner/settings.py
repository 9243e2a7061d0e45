"""One frozen Settings: every knob of the server with its unit, its default and one line of why.

Read from ``DATA/provisioner.toml`` (tables are the part before the dot), then from ``PROVISIONER_<TABLE>_<NAME>``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any, Final, cast

from provisioner.errors import Unusable
from provisioner.knobs import convert
from provisioner.knobs import knob as _knob
from provisioner.settings_login import LoginSettings

KIB: Final = 1024
MIB: Final = 1024 * KIB
DEFAULT_DATA: Final = Path("data")
_HEADER: Final = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]\s*(?:#.*)?$")


@dataclass(frozen=True, slots=True)
class Settings(LoginSettings):
    """Every setting of the server; names are ``table.name`` in the file, ``table_name`` here."""

    data: Path = _knob(DEFAULT_DATA, "directory", "everything that must survive lies below it; --data sets it")  # noqa: RUF009  # a knob is a dataclass field

    server_host: str = _knob("127.0.0.1", "address", "where the device edge listens; 0.0.0.0 or :: to serve a network")
    server_name: str = _knob(
        "localhost", "host name", "the name phones use, in URLs and in the server's own certificate"
    )
    server_workers: int = _knob(-1, "processes", "-1 means one a core: TLS is what costs", -1, 256)
    server_drain: float = _knob(20.0, "s", "how long SIGTERM waits for transfers under way", 0.1, 600)
    server_backlog: int = _knob(
        512, "connections", "callers the kernel holds meanwhile; a longer queue is served after they gave up", 8, 65535
    )
    server_stall: float = _knob(2.0, "s", "a worker whose loop stands still longer is replaced", 0.5, 60)

    device_port: int = _knob(8443, "port", "mutual TLS 1.2 and 1.3", 0, 65535)
    legacy_port: int = _knob(-1, "port", "TLS 1.0 for phones that know no better; -1 is off", -1, 65535)
    legacy_models: tuple[str, ...] = _knob((), "model names", "only these may use the legacy listener")
    bootstrap_port: int = _knob(8080, "port", "plain HTTP, only what holds no secret; -1 is off", -1, 65535)
    bootstrap_host: str = _knob("", "address", "empty: the same as server.host")
    admin_host: str = _knob("127.0.0.1", "address", "the administration is for this machine unless said otherwise")
    admin_port: int = _knob(8081, "port", "health, metrics, API and console; -1 is off", -1, 65535)
    admin_tls: str = _knob(
        "auto", "auto | on | off", "HTTPS with the server's own certificates; auto: unless admin.host is this machine"
    )

    tls_certificates: tuple[str, ...] = _knob(
        ("tls/server-rsa.pem", "tls/server-ec.pem"),
        "PEM files",
        "key and chain each; RSA for old phones, P-256 is cheap",
    )
    tls_hello_timeout: float = _knob(5.0, "s", "a phone sends its ClientHello at once", 0.1, 60)
    tls_handshake_timeout: float = _knob(8.0, "s", "old phones need 3 s for an RSA signature", 0.1, 60)
    tls_shutdown_timeout: float = _knob(2.0, "s", "how long a close_notify is waited for", 0.1, 30)

    http_head_timeout: float = _knob(10.0, "s", "a request head is one packet; slower is an attack", 0.1, 60)
    http_idle_timeout: float = _knob(
        15.0, "s", "longer than the pauses inside any boot, short enough to free memory", 1, 600
    )
    http_body_timeout: float = _knob(60.0, "s", "1 MiB of log over a slow uplink", 1, 600)
    http_head_limit: int = _knob(
        8 * KIB, "bytes", "phones send under 1 KiB; aiohttp's own line limit is 8190", 1024, 65536
    )
    http_write_buffer: int = _knob(64 * KIB, "bytes", "above it a transfer waits for the phone", 4096, 16 * MIB)
    http_connections: int = _knob(
        20_000, "connections", "a worker accepts no more than this at once: memory stays bounded", 1, 1_000_000
    )

    upload_log: int = _knob(1 * MIB, "bytes", "the newest log of a device", 1, 64 * MIB)
    upload_overrides: int = _knob(256 * KIB, "bytes", "what a user can change on a phone is a few KiB", 1, 64 * MIB)
    upload_directory: int = _knob(1 * MIB, "bytes", "a full contact list", 1, 64 * MIB)
    upload_budget: int = _knob(
        64 * MIB, "bytes", "uploads under way in one worker, all devices together", 1, 16384 * MIB
    )

    gate_slots: int = _knob(
        2, "handshakes", "begun a turn of the loop; the crypto is synchronous, so more would only wait inside", 1, 16
    )
    gate_patience: float = _knob(
        10.0, "s", "how long a phone waits for its first byte; inferred, differs by model", 1, 120
    )
    gate_deadline: float = _knob(
        4.0, "s", "who has waited longer is not begun: 0.4 of the patience leaves time for the boot itself", 0.1, 60
    )
    gate_target: float = _knob(0.5, "s", "queue delay that is still calm; above it the newest goes first", 0.01, 30)
    gate_interval: float = _knob(2.0, "s", "above the target for so long is a storm", 0.1, 60)
    gate_calm: float = _knob(60.0, "s", "below the target for so long ends a storm", 0.1, 3600)
    gate_queue: int = _knob(
        4096,
        "connections",
        "waiting in one worker at most; measured gate capacity x deadline where that is less",
        0,
        100_000,
    )
    gate_rejections: float = _knob(
        0.03, "share of the time", "spent on callers turned away; beyond it no more are accepted", 0.001, 0.5
    )
    gate_unknown: float = _knob(
        0.3, "share", "what addresses without known phones get while known ones wait", 0.01, 0.9
    )
    gate_unknown_rate: float = _knob(
        2.0,
        "connections/s",
        "of one unknown address; beyond it and its burst the rest waits behind all others",
        0.01,
        1000,
    )
    gate_unknown_burst: int = _knob(60, "connections", "a new office of 50 phones installs within a minute", 1, 100_000)
    gate_failures: float = _knob(
        10.0,
        "handshakes/min",
        "failed ones of one address; beyond it and its burst it waits behind all others",
        0.01,
        6000,
    )
    gate_failures_burst: int = _knob(30, "handshakes", "a site of phones with wrong clocks is no attack", 1, 100_000)
    gate_memory: float = _knob(30.0, "days", "an address is known by the phones it has shown for so long", 0.01, 400)
    gate_legacy: float = _knob(
        0.25, "share of a worker", "all the legacy listener may use: its handshakes are dear", 0.01, 1
    )
    gate_names: tuple[str, ...] = _knob(
        (), "host names", "a ClientHello that names any other is closed; empty, or none named: all may come"
    )
    gate_scanners: tuple[str, ...] = _knob(
        ("listed",), "fingerprints", "ClientHellos closed at once; `listed`: what ships; the log shows fingerprints"
    )
    gate_order: str = _knob(
        "adaptive", "adaptive | fifo | lifo", "oldest first while calm, newest first under pressure; others to compare"
    )
    gate_fair: bool = _knob(
        True, "true | false", "share handshakes among addresses by their known phones; off to compare"
    )
    gate_dead_check: bool = _knob(True, "true | false", "drop who has left or waited too long; off to compare")

    admission_mode: str = _knob(
        "observe", "observe | enforce", "observe counts what enforce would hold back; look at it for a week first"
    )
    admission_requests: float = _knob(
        20.0, "requests/min", "of one device: two boots of 15 files and a third more", 0.1, 6000
    )
    admission_requests_burst: int = _knob(40, "requests", "of one device at once: the same two boots", 1, 10_000)
    admission_handshakes: float = _knob(
        12.0, "handshakes/min", "full ones of one device: 8 a boot with a connection per file", 0.1, 6000
    )
    admission_handshakes_burst: int = _knob(20, "handshakes", "of one device at once: two such boots", 1, 10_000)
    admission_uploads: float = _knob(
        6.0, "uploads/min", "of one device: log, overrides and directory of two boots", 0.1, 6000
    )
    admission_uploads_burst: int = _knob(12, "uploads", "of one device at once", 1, 10_000)
    admission_firmware: float = _knob(3.0, "starts/h", "of one device: more is a resume loop", 0.1, 600)
    admission_firmware_burst: int = _knob(3, "starts", "of one device at once", 1, 100)
    admission_firmware_parallel: int = _knob(2, "transfers", "of firmware at once to one site: its uplink", 1, 10_000)
    admission_files: int = _knob(8, "files", "of one boot, from which ceilings of sites and accounts are made", 1, 100)
    admission_floor: float = _knob(
        5.0, "requests/s", "a site or account never has less, however small it is", 0.1, 10_000
    )
    admission_hold: float = _knob(
        5.0, "s", "the longest an answer is held back instead of refused; below gate.patience - gate.deadline", 0.0, 60
    )
    admission_retry_least: float = _knob(30.0, "s", "shortest Retry-After, before its jitter of a half", 1, 3600)
    admission_retry_most: float = _knob(900.0, "s", "longest Retry-After, before its jitter of a half", 1, 86_400)
    admission_keys: int = _knob(100_000, "keys", "buckets remembered a worker; full ones go first", 100, 10_000_000)
    admission_answers: tuple[str, ...] = _knob(
        (),
        "VENDOR/FAMILY=WORD+WORD",
        "who takes a 503 (p1, p2, p3) or a 404 (firmware, log, directory, calls) better than a wait, where you know"
        " more than models.toml; VENDOR/* is all families, no word is always wait",
    )

    storm_pause: bool = _knob(
        True, "true | false", "firmware, logs and phone books wait until a storm is over; off to compare"
    )
    storm_utilization: float = _knob(
        0.8, "share", "of the cores that phones may use when capacity is reckoned", 0.05, 1.0
    )
    storm_campaign: float = _knob(
        0.3, "share of capacity", "pace of what this server starts itself: resyncs", 0.01, 1.0
    )

    identity_expired: str = _knob(
        "pinned", "pinned | never", "some factory leaves expired years ago; accept the pinned one only"
    )
    identity_memory: int = _knob(
        65_536, "certificates", "verdicts remembered a worker, for resumed sessions", 16, 10_000_000
    )
    digest_enabled: bool = _knob(False, "true | false", "401 makes some phones ask their user for a password")
    digest_algorithms: tuple[str, ...] = _knob(
        ("MD5",), "MD5, SHA-256", "old phones know only MD5 (RFC 7616 allows both)"
    )
    token_window: int = _knob(3600, "s", "a token URL works this long after it is opened", 60, 2_592_000)
    token_fetches: int = _knob(40, "fetches", "two boots of 15 files and a third more", 1, 10_000)

    store_url: str = _knob("", "SQLAlchemy URL", "empty: SQLite in DATA/provisioner.db")
    store_poll: float = _knob(0.25, "s", "how soon a worker sees a change; 1 s is promised", 0.05, 1.0)
    store_flush: float = _knob(1.0, "s", "last-seen and fetch records are written in batches", 0.05, 60)
    store_queue: int = _knob(
        20_000, "records", "records waiting for a batch; beyond it they are dropped and counted", 100, 10_000_000
    )
    store_seen: int = _knob(10_000, "devices", "unknown devices remembered; the oldest go first", 10, 1_000_000)
    store_events: int = _knob(200_000, "events", "kept in the database; the oldest go first", 100, 100_000_000)
    store_certificates: int = _knob(
        200_000, "certificates", "of devices, kept for people to look at, 1.3 kB each; the oldest go", 10, 10_000_000
    )

    activation_server: str = _knob(
        "", "host name", "where phones without a line register to hear the activation prompts; empty: server.name"
    )
    activation_port: int = _knob(
        0,
        "port",
        "of that server; 0: where this one's own prompts are called, or 5060 (tls: 5061) while those are off",
        0,
        65535,
    )
    activation_transport: str = _knob(
        "udp", "udp | tcp | tls", "udp is what every model does untaught; tls hides signalling, not the keyed digits"
    )
    activation_number: str = _knob("2288", "digits", "what lifting the handset dials; ACTV on a keypad")
    activation_poll: int = _knob(
        300, "s", "a phone that waits for activation asks again so often; Poly no sooner than 3600", 60, 86_400
    )
    activation_networks: tuple[str, ...] = _knob(
        (), "CIDR networks", "where devices that nobody has added are offered activation too; empty: nowhere"
    )
    activation_secret_life: int = _knob(
        86_400,
        "s",
        "a waiting phone has the same SIP secret so long, as some restart when a file changed; 0: a new one each fetch",
        0,
        2_592_000,
    )
    activation_offers: float = _knob(
        20.0, "requests/min", "of one device that waits for activation: a boot of 15 files and a third more", 0.1, 6000
    )
    activation_offers_burst: int = _knob(40, "requests", "of one such device at once: two boots", 1, 10_000)
    activation_offers_address: float = _knob(
        120.0,
        "requests/min",
        "of all such devices at one address: 100 phones that poll 6 files each 300 s",
        0.1,
        60_000,
    )
    activation_offers_address_burst: int = _knob(
        600, "requests", "of one address at once: 50 phones unpacked together, 12 files each", 1, 100_000
    )

    activation_digits: int = _knob(
        12, "digits", "of an activation code, the check digit included; 16 where more than 10,000 are open", 8, 16
    )
    activation_life: int = _knob(604_800, "s", "how long a code can be used: a week, from 1 h to 90 d", 3600, 7_776_000)
    activation_window: int = _knob(
        1800, "s", "after it was bound a phone may restart more than once; later it is stuck", 60, 86_400
    )
    activation_no_reboot_hint_after: int = _knob(
        120, "s", "a bound phone that has not come by then should be unplugged for a minute", 10, 3600
    )
    activation_tries_device: float = _knob(5.0, "wrong codes/h", "of one device; then it is locked", 1, 1000)
    activation_lock_first: int = _knob(
        900, "s", "the first lock of a device; each further one is twice as long", 1, 86_400
    )
    activation_lock_most: int = _knob(
        86_400, "s", "the longest; so long without trouble and the next is a first one", 1, 604_800
    )
    activation_tries_source: float = _knob(
        20.0, "wrong codes/h", "of one address: an office of 50 phones behind it mistypes less", 1, 10_000
    )
    activation_tries_network: float = _knob(60.0, "wrong codes/h", "of one IPv4 /24 or IPv6 /64", 1, 100_000)
    activation_tries_account: float = _knob(60.0, "wrong codes/h", "of all devices of one account", 1, 100_000)
    activation_tries_total: float = _knob(
        200.0,
        "wrong codes/h",
        "of all callers: what guessing comes to hangs on it alone; docs/activation.md",
        1,
        1_000_000,
    )
    activation_tries_unproven: float = _knob(
        50.0,
        "wrong codes/h",
        "of those by all callers whose device is not proven, so they never use up the rest",
        1,
        1_000_000,
    )
    activation_misuses: int = _knob(
        3, "entries", "of the right digits on phones that they are not for; then the code is locked", 1, 100
    )
    activation_keep: int = _knob(90, "days", "codes that are over stay in the list", 1, 3650)

    ivr_host: str = _knob("", "address", "where the activation prompts are called; empty: the same as server.host")
    ivr_port: int = _knob(-1, "port", "SIP over UDP and TCP, 5060 for phones; -1 is off", -1, 65535)
    ivr_tls_port: int = _knob(-1, "port", "SIP over TLS, 5061 for phones; -1 is off", -1, 65535)
    ivr_address: str = _knob("", "IP address", "ours as phones see it, behind 1:1 NAT; empty: the one that they reach")
    ivr_rtp_low: int = _knob(20_000, "port", "the first for sound; each call has an even one", 1024, 65534)
    ivr_rtp_high: int = _knob(20_999, "port", "the last for sound", 1024, 65535)
    ivr_calls: int = _knob(100, "calls", "at once; who comes above them hears that all lines are busy", 1, 10_000)
    ivr_connections: int = _knob(1000, "connections", "TCP and TLS together, half of them of one address", 1, 100_000)
    ivr_rate: float = _knob(20.0, "messages/s", "of one address that has proved nothing, or of one phone", 1, 10_000)
    ivr_trusted: tuple[str, ...] = _knob((), "addresses", "our own SIP proxies, which speak for many phones: no rate")
    ivr_language: str = _knob("en", "language", "of the prompts: en, en-GB, de, or one of ivr.prompts")
    ivr_confirm_extension: bool = _knob(
        False, "true | false", "read the extension back and bind on 1: a key more for the user, a mix-up of mails less"
    )
    ivr_prompts: str = _knob("", "directory", "recordings of your own, a folder a language; the shipped fill the gaps")

    resync_wave: float = _knob(
        180.0,
        "s",
        "of a campaign, in which a place has no more phones away than its share; a restart takes two minutes",
        1,
        86_400,
    )
    resync_share: float = _knob(
        0.2, "share", "of a site's phones (an account's, without sites) told in one wave; one phone at least", 0.001, 1
    )
    resync_busy: float = _knob(60.0, "s", "a phone in a call is asked for again so often", 5, 3600)
    resync_again: float = _knob(30.0, "s", "between attempts to tell a phone that did not answer", 1, 3600)
    resync_ami_host: str = _knob(
        "", "address", "of Asterisk's manager interface, through which phones are told; empty: none"
    )
    resync_ami_port: int = _knob(5038, "port", "of the manager interface; it speaks in the clear", 1, 65535)
    resync_ami_user: str = _knob("provisioner", "name", "in its manager.conf, with write = system,call,reporting")
    resync_ami_secret: str = _knob("ami.secret", "file", "below DATA, holds the secret of that name in one line")
    resync_ami_endpoint: str = _knob(
        "{auth_user}", "text with {auth_user}, {number}, {mac}", "what the PBX calls the endpoint of a line"
    )

    log_level: str = _knob("info", "debug | info | warning | error", "refusals are events, not log lines")

    @property
    def database_url(self) -> str:
        """The store's SQLAlchemy URL."""
        return self.store_url or f"sqlite+aiosqlite:///{self.data / 'provisioner.db'}"

    @property
    def worker_count(self) -> int:
        """Processes that serve devices."""
        return self.server_workers if self.server_workers > 0 else os.cpu_count() or 1


def knobs() -> Iterator[tuple[str, Field[Any]]]:
    """Name as written in the file, and the field; for the loader, the docs and `provisioner doctor`."""
    for one in sorted(fields(Settings), key=lambda one: one.name in LoginSettings.__dataclass_fields__):
        if one.name != "data":
            yield one.name.replace("_", ".", 1), one


def load(data: Path, environment: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Read the file and the environment; Unusable names what is wrong and what would be right."""
    values: dict[str, object] = {}
    path = data / "provisioner.toml"
    if path.exists():
        values |= _flatten(path, _document(path))
    known = {one.name for _, one in knobs()}
    for name, text in (os.environ if environment is None else environment).items():
        if name.startswith("PROVISIONER_") and (short := name.removeprefix("PROVISIONER_").lower()) in known:
            values[short] = text
    values |= overrides
    if unknown := sorted(set(values) - known):
        raise Unusable(
            f"{path}: unknown setting {unknown[0].replace('_', '.', 1)!r}; docs/reference/settings.md lists them"
        )
    return Settings(data=data, **{name: _typed(name, value) for name, value in values.items()})


def _document(path: Path) -> Mapping[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Unusable(f"{path} is not TOML: {error}") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Unusable(_twice(path, text) or f"{path} is not TOML: {error}") from error


def _twice(path: Path, text: str) -> str:
    """What to do where a header was pasted that the file has already, as those made by ``init`` have; else empty."""
    first: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if (found := _HEADER.match(line)) is None:
            continue
        if (before := first.setdefault(found[1], number)) != number:
            table = f"[{found[1]}]"
            return (
                f"{path}: line {before} is {table}, and so is line {number}: a table stands once. Move what follows "
                f"line {number} up below line {before}, and take line {number} out"
            )
    return ""


def _flatten(path: Path, document: Mapping[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for table, entries in document.items():
        if not isinstance(entries, dict):
            raise Unusable(f"{path}: {table!r} must stand in a table such as [server]")
        flat |= {f"{table}_{name}": value for name, value in entries.items()}
    return flat


def _typed(name: str, value: object) -> Any:
    knob = next(one for _, one in knobs() if one.name == name)
    default = cast("object", None if knob.default is MISSING else knob.default)
    shown = name.replace("_", ".", 1)
    try:
        typed = convert(default, value)
    except ValueError as error:
        raise Unusable(f"setting {shown} = {value!r}: {error}") from error
    if isinstance(default, str) and " | " in (unit := knob.metadata["unit"]):
        return _one_of(shown, str(typed), unit.split(" | "))
    low, high = knob.metadata["low"], knob.metadata["high"]
    if isinstance(typed, (int, float)) and low is not None and not low <= typed <= high:
        raise Unusable(f"setting {shown} = {typed}: must be from {low} to {high} {knob.metadata['unit']}")
    return typed


def _one_of(shown: str, value: str, words: list[str]) -> str:
    if value.lower() not in words:
        raise Unusable(f"setting {shown} = {value!r}: must be one of {', '.join(words)}")
    return value.lower()
