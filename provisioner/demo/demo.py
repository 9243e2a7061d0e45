"""The demonstration: a real server, seven simulated phones, and a table of what the server decided about each.

Rule: the phone says what it got, the server says what it thought of the phone; the two are read apart and compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

from provisioner import settings, trust
from provisioner.activation.codes import Codes
from provisioner.admin_address import admin_url
from provisioner.demo import cast as demo_cast
from provisioner.demo import table as demo_table
from provisioner.demo.activation import activate, is_written
from provisioner.demo.cast import CAST, Part, burnt_in
from provisioner.demo.diagnoses import diagnoses, show_diagnoses
from provisioner.demo.owner import owner_link
from provisioner.demo.table import Addresses, Scene
from provisioner.errors import Conflict, Unusable
from provisioner.fleet.fleet import Fleet
from provisioner.installation import ca_file, init, vendors
from provisioner.model import ListenerKind, Proof
from provisioner.pki import make_factory
from provisioner.run_directory import already_runs, read_addresses, running_pid
from provisioner.settings import Settings
from provisioner.simulator import BootReport, Phone, Step, boot, load_persona
from provisioner.simulator.caller_story import CallStory
from provisioner.store.database import Store
from provisioner.vendors import drivers

START_PATIENCE: Final = 30.0
"""s until the server listens, on a slow and busy machine."""
STOP_PATIENCE: Final = 30.0
"""s for the server to let its connections go."""
RECORD_PATIENCE: Final = 10.0
"""s until the server's batches are written; they go out every store.flush."""
_RECENT: Final = 200
"""Events looked through for the one that is meant."""
_SKEW: Final = 1.0
"""s the server's times may lie before ours: it notes a request when its head is read."""
_PROMPTS: Final = {"PROVISIONER_IVR_PORT": "0"}
"""The activation prompts take any free port, unless the caller's environment names one: phones are told which."""
_LOOK: Final = 0.1
"""s between two looks for something that another process will have written."""

_OTHER_PORTS: Final = "here --port says which (`make run PORT=...`), with the next two for bootstrap and admin"
"""The demonstration's own word goes before the settings."""


# --- the stage -----------------------------------------------------------------------------------------


def perform(data: Path, port: int, once: bool, as_json: bool) -> int:
    """The whole demonstration; the exit code says whether every row came out as it should."""
    with _ending_by_signal():
        if pid := running_pid(data):
            raise already_runs(pid, data)  # before its log is begun anew
        prepare(data, port)
        configured = settings.load(data)
        phones = {part: _phone(data, part) for part in CAST}
        demo_table.note(f"starting a server in {data} ...")
        with running_server(data, port) as (server, addresses):
            url = f"https://{configured.server_name}:{addresses[ListenerKind.DEVICE][1]}/"
            scenes = asyncio.run(_evening(configured, phones, url))
            demo_table.show_scenes(scenes, as_json)
            if not as_json:
                show_diagnoses(asyncio.run(diagnoses(configured)))
            if once:
                return 0 if all(scene.as_it_should for scene in scenes) else 1
            return _serve_on(server, configured, addresses)


@contextmanager
def _ending_by_signal() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal leave through every ``finally``, so that no server is left behind."""
    before = {one: signal.signal(one, signal.default_int_handler) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _serve_on(server: subprocess.Popen[bytes], configured: Settings, addresses: Addresses) -> int:
    """Wait; being told to stop is the good end of it."""
    try:
        host, port = addresses[ListenerKind.ADMIN]
        link = asyncio.run(owner_link(configured, admin_url(configured, host, port)))
        demo_table.farewell(configured, addresses, link)
        return server.wait()
    except KeyboardInterrupt:
        return 0


def prepare(data: Path, port: int = 0) -> None:
    """An installation with a demo factory for each vendor that is trusted, and one more that is not.

    A new one keeps the demonstration's ports, so that `provisioner serve` is found where the demonstration was.
    """
    init(data, given={f"{kind}.port": number for kind, number in _ports(port).items()} if port else {})
    for vendor in vendors():
        with contextlib.suppress(Conflict):  # trusted since an earlier demonstration
            trust.add(data, vendor, make_factory(vendor, data / "demo" / vendor).cas_pem)


def _phone(data: Path, part: Part) -> Phone:
    """A simulated phone with its burnt-in certificate, made in the first demonstration here."""
    if part.impostor:
        certificate, key = burnt_in(data, "unknown", part.mac, f"{part.mac}-impostor")
    else:
        certificate, key = burnt_in(data, part.vendor, part.mac)
    return Phone(
        persona=load_persona(part.vendor, part.model),
        mac=part.mac,
        certificate=certificate,
        key=key,
        trust=ca_file(data),
        ask_for=part.ask_for,
    )


async def _evening(configured: Settings, phones: Mapping[Part, Phone], url: str) -> list[Scene]:
    known = {one.manifest.name: one for one in drivers(configured.data / "templates")}
    async with Store.of(configured) as store:
        fleet = Fleet(store, known, actor="demo")
        await demo_cast.seed(fleet)
        return await play(fleet, Codes(store, known, configured, actor="demo"), phones, url)


# --- the server ---------------------------------------------------------------------------------------


@contextmanager
def running_server(data: Path, port: int) -> Iterator[tuple[subprocess.Popen[bytes], Addresses]]:
    """`provisioner serve` as its own process, stopped whatever happens; its words go to DATA/demo/server.log."""
    log = data / "demo" / "server.log"
    with log.open("wb") as words:
        command = [sys.executable, "-m", "provisioner", "serve", "--data", str(data)]
        server = subprocess.Popen(  # noqa: S603  # our own program, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            env={**_PROMPTS, **os.environ, **_knobs(port)},
            process_group=0,  # Ctrl-C is ours to pass on, once
        )
    try:
        yield server, _listening(data, server, log)
    finally:
        stop(server)


def _knobs(port: int) -> Mapping[str, str]:
    """Our ports, and records that are written at once, because somebody is waiting for the table."""
    ports = {f"PROVISIONER_{kind.upper()}_PORT": str(number) for kind, number in _ports(port).items()}
    return {**ports, "PROVISIONER_STORE_FLUSH": str(_LOOK)}


def _ports(port: int) -> Mapping[ListenerKind, int]:
    """The one that was asked for and the next two; 0: any free ones."""
    kinds = (ListenerKind.DEVICE, ListenerKind.BOOTSTRAP, ListenerKind.ADMIN)
    return {kind: port + step if port else 0 for step, kind in enumerate(kinds)}


def _listening(data: Path, server: subprocess.Popen[bytes], log: Path) -> Addresses:
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        if _is_ours(data, server) and (found := read_addresses(data)):
            return found
        time.sleep(_LOOK)
    told = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = told[-1].removeprefix("Error: ") if told else f"it said nothing within {START_PATIENCE:.0f} s"
    advice = f"; {_OTHER_PORTS}" if " is taken by another program" in last else ""
    raise Unusable(f"the server did not start: {last}{advice}")


def _is_ours(data: Path, server: subprocess.Popen[bytes]) -> bool:
    """Addresses that another server left there are not ours."""
    try:
        return (data / "run" / "server.pid").read_text(encoding="ascii").strip() == str(server.pid)
    except OSError:
        return False


def stop(server: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, and see to it that it does."""
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
    try:
        server.wait(STOP_PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


# --- the play -----------------------------------------------------------------------------------------


async def play(fleet: Fleet, codes: Codes, phones: Mapping[Part, Phone], url: str) -> list[Scene]:
    """Boot each phone in turn, while who has to call first is on the telephone; the scenes in the order of the cast."""

    async def callers() -> list[Scene]:
        return [await _activation(fleet, codes, part, phone, url) for part, phone in phones.items() if part.waits]

    async def others() -> list[Scene]:
        return [await _boot(fleet, part, phone, url) for part, phone in phones.items() if not part.waits]

    scenes = {one.part: one for some in await asyncio.gather(callers(), others()) for one in some}
    return [scenes[part] for part in phones]


async def _boot(fleet: Fleet, part: Part, phone: Phone, url: str) -> Scene:
    demo_table.note(f"booting {part.title} ...")
    began = time.time()
    return await _scene(fleet, part, await boot(phone, url), began)


async def _activation(fleet: Fleet, codes: Codes, part: Part, phone: Phone, url: str) -> Scene:
    demo_table.note(f"activating {part.title} ...")
    began = time.time()
    story = await activate(codes, part, phone, url)
    report = story.second or story.first
    assert report is not None, "a call comes after a boot"
    return await _scene(fleet, part, report, began, story)


async def _scene(fleet: Fleet, part: Part, report: BootReport, began: float, story: CallStory | None = None) -> Scene:
    for _ in range(int(RECORD_PATIENCE / _LOOK)):
        if told := await _verdict(fleet, part, report, began, story):
            return Scene(part, report, *told, story=story)
        await asyncio.sleep(_LOOK)
    return Scene(part, report, "the server recorded nothing that fits", story=story)


async def _verdict(
    fleet: Fleet, part: Part, report: BootReport, began: float, story: CallStory | None
) -> tuple[str, str, str] | None:
    if part.refusal:
        return await _refusal(fleet, part, began)
    told = await _service(fleet, part, report, began)
    if told is None or story is None or not story.good:
        return told
    return (f"{told[0]}, activated", "", "") if await is_written(fleet, part, began - _SKEW) else None


async def _refusal(fleet: Fleet, part: Part, began: float) -> tuple[str, str, str] | None:
    """The server's verdict and the kind of its refusal, from its event; None while it has none."""
    for one in await fleet.events(limit=_RECENT, kind=part.refusal):
        if one.at >= began - _SKEW and part.mac.upper() in one.details.get("subject", "").upper():
            return one.details["verdict"], one.kind, one.details.get("reason", "")
    return None


async def _service(fleet: Fleet, part: Part, report: BootReport, began: float) -> tuple[str, str, str] | None:
    """The server's verdict, once its records name every file that the phone got with its size; None before that."""
    fetches = [one for one in await fleet.fetches(part.mac) if one.at >= began - _SKEW]
    served = {(one.file.lower(), one.size) for one in fetches if one.status == HTTPStatus.OK}
    got = {(_name(step), step.size) for step in report.steps if step.method == "GET" and step.status == HTTPStatus.OK}
    pinned = (await fleet.device(part.mac)).pinned
    if not (pinned and got and got <= served):
        return None
    by_certificate = {one.proof for one in fetches} == {Proof.CERTIFICATE}
    return ("unique, key pinned" if by_certificate else "not by its certificate", "", "")


def _name(step: Step) -> str:
    return step.path.rpartition("/")[2].lower()
