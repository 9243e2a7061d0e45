"""Check an installation, say in plain words what is wrong and what to do; a check stands alone and changes nothing."""

from __future__ import annotations

import os
import resource
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from jinja2 import Environment, TemplateSyntaxError

from provisioner import settings as settings_module
from provisioner import trust
from provisioner.contradictions import WHERE_TO_ALLOW, contradictions, files_wanted, fitted
from provisioner.errors import ProvisionerError, RenderFailed, Unusable
from provisioner.installation import SETTINGS_FILE, vendors
from provisioner.layers import merge, resolve
from provisioner.model import Line, Mac
from provisioner.pki import server_certificates_state
from provisioner.ports import bind
from provisioner.preview import Masked, Preview
from provisioner.resync.pbx import ami_of
from provisioner.run_directory import read_addresses, running_pid
from provisioner.settings import Settings
from provisioner.shipped import shipped
from provisioner.store import migrations
from provisioner.store.database import key_path
from provisioner.store.secretbox import SecretBox
from provisioner.vendors import drivers

_EARLIEST: Final = 1_790_000_000
"""Unix time, September 2026: a clock before it is wrong, the program is younger."""

_SAMPLE_MAC: Final = Mac("0004f2000001")
_SAMPLE_LINE: Final = Line(1, "1001", "1001", "sample-secret", "Sample")


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    state: State
    check: str
    says: str


Check = Callable[[Settings], Iterator[Finding]]


def examine(data: Path) -> tuple[Finding, ...]:
    """Every check, in order; without readable settings only what can be said without them."""
    try:
        settings = _settings(data)
    except Unusable as error:
        return (Finding(State.FAIL, "settings", error.cause),)
    findings = list(_run("settings", check_settings, settings))
    for name, check in CHECKS.items():
        findings += _run(name, check, settings)
    return tuple(findings)


def _settings(data: Path) -> Settings:
    if not (data / SETTINGS_FILE).is_file():
        raise Unusable(f"{data} holds no installation; `provisioner init --data {data}` makes one")
    return settings_module.load(data)


def _run(name: str, check: Check, settings: Settings) -> Iterator[Finding]:
    """A check that meets what it cannot use has found something, too."""
    try:
        for finding in check(settings):
            yield replace(finding, check=name)
    except OSError as error:
        yield Finding(State.FAIL, name, f"{error.filename or settings.data}: {error.strerror or error}")
    except ProvisionerError as error:
        yield Finding(State.FAIL, name, error.cause)


def _ok(says: str) -> Finding:
    return Finding(State.OK, "", says)


def _warn(says: str) -> Finding:
    return Finding(State.WARN, "", says)


def _fail(says: str) -> Finding:
    return Finding(State.FAIL, "", says)


def check_settings(settings: Settings) -> Iterator[Finding]:
    """They can all be meant at once."""
    yield _ok(f"{settings.data / SETTINGS_FILE} is understood")
    models = [model for driver in drivers() for model in driver.manifest.models.values()]
    yield from map(_fail, contradictions(settings, _files(settings).most, models))


def check_directory(settings: Settings) -> Iterator[Finding]:
    """Nobody else may look in, the server may write."""
    mode = stat.S_IMODE(settings.data.stat().st_mode)
    if mode & 0o077:
        yield _warn(f"{settings.data} can be entered by others ({mode:04o}): run `chmod 700 {settings.data}`")
    elif not os.access(settings.data, os.W_OK | os.X_OK):
        yield _fail(f"{settings.data} cannot be written by this user; run as its owner")
    else:
        yield _ok(f"{settings.data} is its owner's alone")
    free = os.statvfs(settings.data)
    megabytes = free.f_bavail * free.f_frsize // settings_module.MIB
    if megabytes < 200:
        yield _fail(f"only {megabytes} MiB are free on its disk; the database will stop writing")


def check_key(settings: Settings) -> Iterator[Finding]:
    """The key opens and is the owner's alone."""
    path = key_path(settings.data)
    if (keys := len(SecretBox.load(path))) > 1:
        yield _warn(
            f"{path.name} holds {keys} keys: a rotation is not finished, or waits for token URLs to end; "
            "`provisioner db rotate-key` goes on with it"
        )
    yield _ok(f"{path.name} is readable by its owner only; keep a copy apart from the database's")


def check_database(settings: Settings) -> Iterator[Finding]:
    """It answers and has the version this program needs."""
    migrations.require_current(settings.database_url)
    yield _ok(f"the database answers and has schema version {migrations.head()}")


def check_trust(settings: Settings) -> Iterator[Finding]:
    """Every factory CA is the one its catalogue names; demo CAs are for demos."""
    known = trust.load(settings.data)
    yield _ok(f"{len(known.trusted)} factory CAs are what the catalogue says")
    demo = [ca for ca in known.trusted if ca.subject.startswith("CN=Demo ")]
    if demo:
        yield _warn(
            f"{len(demo)} demo CAs are trusted and anybody who can read this directory can make phones for them; not "
            "for production: begin a fresh directory, or `provisioner certs untrust` each"
        )
    lacking = [one for one in vendors() if one not in {ca.vendor for ca in known.trusted}]
    for vendor in lacking:
        yield _warn(
            f"no factory CA of {vendor} is trusted, so its phones need a token URL; see `provisioner certs trust`"
        )
    for end in known.check(time.time()):
        yield Finding(State.FAIL if end.days < 0 and end.kind == "root" else State.WARN, "", end.text)


def check_certificates(settings: Settings) -> Iterator[Finding]:
    """The server's own certificates: usable now, for long enough, and for the name that phones use."""
    now = time.time()
    for one in server_certificates_state(
        [settings.data / name for name in settings.tls_certificates], settings.server_name, now
    ):
        if one.problem:
            yield _fail(one.problem)
        elif one.hint:
            yield _warn(f"{one.path}: {one.hint}")
        elif (days := _days_left(one.not_after, now)) < trust.WARN_DAYS[-1]:
            yield _warn(f"{one.path} expires in {days} days, at {one.not_after}: have its successor ready")
        else:
            yield _ok(f"{one.path.name} ({one.key}) serves {settings.server_name} until {one.not_after}")


def _days_left(not_after: str, now: float) -> int:
    return int((datetime.fromisoformat(not_after).timestamp() - now) // 86_400)


def check_templates(settings: Settings) -> Iterator[Finding]:
    """An operator's template must compile; a vendor's directory must be a vendor's."""
    environment = Environment(autoescape=True)
    own = settings.data / "templates"
    count = 0
    for directory in (shipped("templates"), own):
        for path in sorted(directory.rglob("*.j2")) if directory.is_dir() else ():
            count += 1
            try:
                environment.parse(path.read_text(encoding="utf-8"))
            except (TemplateSyntaxError, UnicodeDecodeError) as error:
                yield _fail(f"{path} does not compile: {error}; correct it or remove it to use the shipped one")
    known = {*vendors(), "mail"}
    for stray in sorted(one.name for one in own.iterdir() if one.name not in known) if own.is_dir() else ():
        yield _warn(f"templates/{stray} belongs to no vendor and is never used; vendors: {', '.join(vendors())}")
    yield from _trial(settings)
    yield _ok(f"{count} templates compile")


def _trial(settings: Settings) -> Iterator[Finding]:
    """One model of each dialect is rendered: a template may compile and yet know a name that does not exist."""
    for driver in drivers(settings.data / "templates"):
        models = {one.dialect: one for one in driver.manifest.models.values()}
        for model in models.values():
            sample = resolve(_SAMPLE_MAC, model, [_SAMPLE_LINE], merge([]), base_url="https://localhost/")
            try:
                list(Preview(driver, sample).render_all(Masked()))
            except RenderFailed as error:
                yield _fail(
                    f"a template of {driver.manifest.name} makes no correct file for a {model.name}: {error}; "
                    f"correct it in {settings.data / 'templates' / driver.manifest.name}, or remove it there"
                )


def check_ports(settings: Settings) -> Iterator[Finding]:
    """Bound by our own server, or free to be."""
    running = read_addresses(settings.data)
    if not running and (pid := running_pid(settings.data)):
        yield _warn(f"a server (pid {pid}) runs on this installation and does not say where it listens")
        return
    if running:
        told = ", ".join(f"{kind} {host}:{port}" for kind, (host, port) in running.items())
        yield _ok(f"a server runs on this installation: {told}")
        return
    with ExitStack() as close:
        for sock in bind(settings).values():
            close.callback(sock.close)
    yield _ok("all ports are free; no server runs")
    if settings.server_host in {"127.0.0.1", "::1", "localhost"}:
        yield _warn("server.host is this machine only; phones reach it when it is 0.0.0.0 or ::")


def check_capacity(settings: Settings) -> Iterator[Finding]:
    """Workers against cores, and descriptors against connections."""
    cores = len(os.sched_getaffinity(0))
    workers = settings.worker_count
    if workers > cores:
        yield _warn(f"{workers} workers on {cores} cores only take turns; set server.workers to -1")
    else:
        yield _ok(f"{workers} workers on {cores} cores")
    yield _descriptors(settings, _files(settings))


def _descriptors(settings: Settings, files: _Files) -> Finding:
    """A worker raises its own limit as far as it may; only beyond that does anybody have to do something."""
    wanted, room = files_wanted(settings), fitted(settings, files.most).http_connections
    if room >= settings.http_connections:
        return _ok(f"open files: {files}, {wanted} wanted by a worker")
    return _warn(
        f"open files: {files}, and a worker with http.connections = {settings.http_connections} can want {wanted}: it "
        f"takes {room} connections for each listener instead. Allow {wanted} ({WHERE_TO_ALLOW}), or lower "
        "http.connections"
    )


@dataclass(frozen=True, slots=True)
class _Files:
    """How many files a process of the server may have open; negative where there is no limit."""

    most: int
    whose: str

    def __str__(self) -> str:
        return f"{self.most if self.most >= 0 else 'any number'} allowed to {self.whose}"


def _files(settings: Settings) -> _Files:
    """Of the server where one runs; otherwise of this shell, which may not be where it will be started."""
    pid = running_pid(settings.data)
    if pid.isdigit():
        with suppress(OSError):  # another user's, or it has just ended
            return _Files(resource.prlimit(int(pid), resource.RLIMIT_NOFILE)[1], f"the running server (pid {pid})")
    return _Files(resource.getrlimit(resource.RLIMIT_NOFILE)[1], "what is started from this shell")


def check_alarms(settings: Settings) -> Iterator[Finding]:
    """Whoever shall hear of alarms by SNMP can be told; nobody is called."""
    if not settings.trap_receivers:
        yield _ok("nobody is told of alarms by SNMP: trap.receivers is empty")
        return
    from provisioner.switches.traps import objections  # only where alarms are sent

    wrong = objections(settings)
    yield from map(_fail, wrong)
    if not wrong:
        yield _ok(f"alarms go to {', '.join(settings.trap_receivers)}; `provisioner trap test` sends one")


def check_clock(settings: Settings) -> Iterator[Finding]:
    """A wrong clock makes every certificate look expired or not yet valid."""
    now, made = time.time(), (settings.data / SETTINGS_FILE).stat().st_mtime
    if now < _EARLIEST or now < made - 60:
        yield _fail(
            f"the clock says {time.strftime('%Y-%m-%d %H:%M', time.gmtime(now))} UTC, which is past: set up NTP"
        )
    else:
        yield _ok(f"the clock says {time.strftime('%Y-%m-%d %H:%M', time.gmtime(now))} UTC")


def check_mail(settings: Settings) -> Iterator[Finding]:
    """What the mail server is told can be read, and every language has all its texts; nobody is called."""
    if not settings.mail_host:
        yield _ok("mail is off: mail.host is empty")
        return
    from provisioner.mail.relay import Relay  # only where mail is sent
    from provisioner.mail.text import Texts

    relay, texts = Relay(settings), Texts(settings.data / "templates")
    for one in texts.lacking():
        yield _fail(f"templates/mail/{one} is missing: a mail of that language cannot be made")
    if texts.spoken(settings.mail_language) not in {settings.mail_language, settings.mail_language.partition("-")[0]}:
        yield _warn(f"mail.language = {settings.mail_language!r}: there are {', '.join(texts.languages())}")
    yield _ok(f"{relay.sender.address} writes through {settings.mail_host}:{settings.mail_port} ({settings.mail_tls})")


def check_telephony(settings: Settings) -> Iterator[Finding]:
    """Each telephone system that may ask, or is asked, has its secret and is known by its networks; nobody is called.

    What the settings say of their networks against each other is among the settings' own checks.
    """
    on = [*(["asterisk"] if settings.agi_port >= 0 else []), *settings.hooks_on]
    if on:
        from provisioner.ivr_adapters import require_adapters  # the voice menu's weight is not every doctor's

        require_adapters(settings)
    if ami_of(settings) is not None:
        yield _ok(f"phones are told through the manager interface of {settings.resync_ami_host}")
    if not on:
        yield _ok("no other telephone system may ask: agi.port and hooks.port are off")
        return
    yield _ok(f"{', '.join(on)} may ask; their secrets are their owner's alone")


CHECKS: Final[dict[str, Check]] = {
    "directory": check_directory,
    "key": check_key,
    "database": check_database,
    "trust": check_trust,
    "certificates": check_certificates,
    "templates": check_templates,
    "mail": check_mail,
    "alarms": check_alarms,
    "telephony": check_telephony,
    "ports": check_ports,
    "capacity": check_capacity,
    "clock": check_clock,
}
