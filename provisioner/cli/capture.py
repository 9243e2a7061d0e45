"""`provisioner capture`: take frames, read files of them, cut out one phone's as evidence; no frame comes in here.

A program of its own reads them and says facts; what those mean is told by the same ladder as everything else.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from provisioner.cli.cures import typed
from provisioner.cli.session import ADDRESS, MAC, REFUSED, Nouns, acting, session
from provisioner.diagnosis.case import Subject
from provisioner.diagnosis.facts import Fact, as_line
from provisioner.diagnosis.ladder import Diagnosis, diagnose
from provisioner.diagnosis.words import as_document, screen
from provisioner.errors import NotFound, Unusable
from provisioner.evidence import page, program
from provisioner.evidence.key_lines import KeyLog
from provisioner.evidence.program import facts_of
from provisioner.model import Mac
from provisioner.terminal import Shown, console

__all__ = ["capture", "facts_of"]

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_FILES: Final = click.argument("files", nargs=-1, required=True, metavar="FILE...", type=_FILE)
_HTML: Final = click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the report as one page, too."
)
_LONGEST_LOG: Final = 16 << 20
"""Characters of a key log on stdin."""
_LISTED: Final = 50
"""Phones that the program lists at most."""
_PHASES: Final[Mapping[str, str]] = {"who": "looking who is there", "look": "looking", "read": "reading"}


@click.group(cls=Nouns)
def capture() -> None:
    """Frames as evidence: needs `pip install 'provisioner[capture]'`, and no installation of the server."""


@capture.command("read")
@_FILES
@click.option("--mac", type=MAC, metavar="MAC", help="The phone.  [default: the only one that is there]")
@click.option("--address", type=ADDRESS, metavar="ADDRESS", default=None, help="Instead: of one behind a router.")
@_HTML
@click.option("--facts", "raw", is_flag=True, help="What was seen, one line each, instead of what it means.")
def capture_read(files: tuple[Path, ...], mac: Mac | None, address: str | None, html: Path | None, raw: bool) -> object:
    """Why does the phone in these files not come up?

    Takes pcap and pcapng, of the phone's side, of the server's, or both. Without --mac the likeliest phones are listed
    where there are several. In frames from behind a router no phone's MAC stands: --address names one there. Exit codes
    as of `provisioner why`.
    """
    if mac and address:
        raise click.UsageError("give either --mac or --address: whose it is")
    where = address or ""
    with _watching() as told:
        found = program.read(files, mac, address=where, told=told)
    return _told(found, files, html, raw=raw, where=where)


@capture.command("live")
@click.option(
    "-i", "--interface", required=True, metavar="IFACE", help="Where; `any` (dumpcap, tcpdump) without --mac only."
)
@click.option("--mac", type=MAC, metavar="MAC", help="Only this phone, and what its boot depends on.")
@click.option("--seconds", type=click.FloatRange(1, 86_400), default=60.0, show_default=True, help="How long.")
@click.option("--megabytes", type=click.IntRange(1, 65_536), default=64, show_default=True, help="Of the whole ring.")
@click.option("--by", type=click.Choice(["dumpcap", "tcpdump", "socket"]), help="Who takes them.  [default: the first]")
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Keep the files in a new folder."
)
@_HTML
@click.option("--facts", "raw", is_flag=True, help="What was seen, one line each, instead of what it means.")
def capture_live(
    interface: str,
    mac: Mac | None,
    seconds: float,
    megabytes: int,
    by: str | None,
    keep: Path | None,
    html: Path | None,
    raw: bool,
) -> object:
    """Take frames from an interface, then say why the phone does not come up.

    Ctrl-C ends it earlier; what was taken till then is read. It needs the right CAP_NET_RAW and nothing else of root's.
    Frames that were lost are counted, and of silence nothing is concluded then.
    """
    with _folder(keep) as folder:
        with _watching() as told:
            taken = program.live(interface, folder, mac, seconds=seconds, megabytes=megabytes, by=by or "", told=told)
        click.echo(
            f"{taken.frames} frames in {taken.seconds:g} s by {taken.by}, {taken.dropped} lost"
            + (f"; in {folder}" if keep else ""),
            err=True,
        )
        if not taken.frames:
            of = f" of {mac.colons}" if mac else ""
            raise Unusable(f"no frame{of} has come on {interface}; is it the right one, and is it up?")
        with _watching() as told:
            found = program.read(taken.files, mac, told=told)
        return _told(found, taken.files, html, raw=raw, lost=program.lost(taken))


@capture.command("bundle")
@click.argument("mac", type=MAC)
@_FILES
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="A new folder.  [default: ./MAC]"
)
@click.option("--keys/--no-keys", default=True, show_default=True, help="With TLS secrets, where `keylog` has some.")
@click.option("--keys-stdin", is_flag=True, help="Read those from stdin instead, as `keylog take` prints them.")
def capture_bundle(mac: Mac, files: tuple[Path, ...], into: Path | None, keys: bool, keys_stdin: bool) -> object:
    """One phone's evidence to hand on: its frames alone, without secrets, with the verdict and what this server saw.

    Credentials, voice, keyed digits and the bodies of files are blanked. Where there is an installation (--data) its
    records of the phone are put beside it, and the TLS secrets that `provisioner keylog` has recorded go into the
    file: Wireshark reads its connections then, and finds in them what may be read.
    """
    secrets = _piped() if keys_stdin else asyncio.run(_secrets(mac)) if keys else None
    folder = into or Path(mac)
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise Unusable(f"{folder} cannot be made ({error.strerror}); name another folder with --into") from error
    try:
        return _bundled(mac, files, folder, secrets)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # half of the evidence is none
        raise


def _bundled(mac: Mac, files: Sequence[Path], folder: Path, secrets: KeyLog | None) -> Shown:
    made = program.cut(files, mac, folder, secrets)
    if not made.frames:
        there = f"no frame of {mac.colons} is in {', '.join(one.name for one in files)}: there is no evidence"
        raise Unusable("; ".join([there, *made.broken]))
    facts = program.facts_of([made.file], mac)  # of what is handed on, so that the numbers of frames are those
    found, now = _judged(facts, mac)
    shown = program.exhibits([made.file], page.deciding(found))
    records = asyncio.run(_records(mac))
    written = {
        "verdict.json": json.dumps(as_document(found, typed), indent=2, ensure_ascii=False),
        "facts.jsonl": "".join(json.dumps(as_line(one)) + "\n" for one in facts),
        "report.html": page.html(found, facts, shown, now, typed),
        **({"records.json": json.dumps(records, indent=2, ensure_ascii=False)} if records is not None else {}),
    }
    for name, text in written.items():
        _write(folder / name, text)
    names, frames = [made.file.name, *written], made.frames
    opened = {"opened": made.opened, "sealed": dict(made.left)} if secrets is not None else None
    return Shown(
        {"folder": str(folder), "frames": frames, "files": names, "title": found.title, "keys": opened},
        "\n".join(
            [
                f"{folder}: {frames} frames, {', '.join(names)}",
                *(f"not all of it is in there: {why}" for why in made.broken),
                *_told_of_keys(made, secrets),
                found.title,
            ]
        ),
    )


# --- TLS secrets -----------------------------------------------------------------------------------


def _told_of_keys(made: program.Cut, secrets: KeyLog | None) -> Iterator[str]:
    """What is in the file, what stays sealed, and what is to be kept from whoever gets it."""
    if secrets is None:
        return
    yield f"TLS secrets in {made.file.name}: of {_connections(made.opened)}; what they open is cleared"
    for why, times in sorted(made.left.items()):
        yield f"still sealed: {_connections(times)}, {why}"
    if made.opened:
        yield "Keep the frames as they were taken to yourself: with these secrets they can be read, passwords too."


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


def _piped() -> KeyLog:
    found = KeyLog(sys.stdin.read(_LONGEST_LOG).splitlines())
    if not found:
        raise Unusable("there are no TLS secrets on stdin; `provisioner keylog take MAC` prints some")
    return found


async def _secrets(mac: Mac) -> KeyLog | None:
    """What this installation has recorded, taken out for whoever sits at it; None where there is nothing."""
    if not (session().data / "provisioner.toml").is_file():
        return None
    from provisioner.fleet.key_recording import KeyRecording  # a laptop without a server does not wait for these
    from provisioner.store.database import Store

    configured = session().settings()
    async with Store.of(configured) as store:
        desk = KeyRecording(store, {}, configured, actor=acting())
        if not any(one.connections for one in await desk.key_recordings(mac)):
            return None
        return KeyLog(await desk.take_tls_secrets(mac))


# --- what was found --------------------------------------------------------------------------------


def _told(
    found: program.Read,
    files: Sequence[Path],
    html: Path | None,
    *,
    raw: bool,
    lost: Sequence[Fact] = (),
    where: str = "",
) -> object:
    if not (found.mac or where) or not found.frames:
        return _which(found)
    facts = [*lost, *found.facts]
    diagnosis, now = _judged(facts, found.mac, where)
    if html is not None:
        shown = program.exhibits(files, page.deciding(diagnosis))
        _write(html, page.html(diagnosis, facts, shown, now, typed))
    if raw:
        lines = [as_line(one) for one in facts]
        return Shown(lines, "\n".join(json.dumps(one, ensure_ascii=False) for one in lines), exit_code=diagnosis.exit)
    return Shown(
        {**as_document(diagnosis, typed), "facts": [as_line(one) for one in facts]},
        screen(diagnosis, now, typed),
        exit_code=diagnosis.exit,
    )


def _judged(facts: Sequence[Fact], mac: Mac | None, where: str = "") -> tuple[Diagnosis, float]:
    """A capture is judged by its own clock: it may be of last week."""
    now = max((one.at for one in facts), default=0.0)
    return diagnose(facts, Subject(mac, where=where), now), now


def _which(found: program.Read) -> Shown:
    """Several phones, or none: it is for people to say which."""
    rows = [
        {
            "mac": one.mac,
            "frames": one.frames,
            "addresses": ", ".join(one.addresses),
            "why": "; ".join(one.why),
        }
        for one in found.phones
    ]
    told = [f"{one.witness.ref}: {one['why']}" for one in found.facts if one["why"]][:10]
    if not found.frames:
        raise Unusable("; ".join(told) or "there is no frame in it")
    if not rows:
        return Shown([], "\n".join(["No phone shows itself in it; --mac names one.", *told]), exit_code=REFUSED)
    if len(rows) >= _LISTED:
        told.insert(0, f"These are the {_LISTED} likeliest; any other one is read by its --mac, too.")
    for line in ("Which phone? Say it with --mac.", *told):
        click.echo(line, err=True)
    return Shown(found.phones, rows=rows, exit_code=REFUSED)


async def _records(mac: Mac) -> list[dict[str, object]] | None:
    """What this server has kept of the phone; None where there is no installation."""
    if not (session().data / "provisioner.toml").is_file():
        return None
    from provisioner.fleet.flights import Flights  # a laptop without a server does not wait for these
    from provisioner.store.database import Store
    from provisioner.vendors import drivers

    configured = session().settings()
    known = {one.manifest.name: one for one in drivers(configured.data / "templates")}
    async with Store.of(configured) as store:
        try:
            kept = await Flights(store, known, actor=acting()).flights(mac, limit=200)
        except NotFound:
            return []  # nobody has added it: its frames are evidence all the same
    return [{"record": one.id, "at": one.at, "facts": [as_line(each) for each in one.facts()]} for one in kept]


# --- files and progress ----------------------------------------------------------------------------


def _write(path: Path, text: str) -> None:
    """For its owner alone: names and addresses of a network are in it."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise Unusable(f"{path} cannot be written ({error.strerror})") from error


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="provisioner-") as made:
            yield Path(made) / "ring"
        return
    if keep.exists() and any(keep.iterdir()):
        raise Unusable(f"{keep} is not empty; name a new folder with --keep")
    yield keep


@contextmanager
def _watching() -> Iterator[Callable[[program.Line], None] | None]:
    """A bar for people; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn  # only where somebody looks

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as shown:
        task = shown.add_task("reading", total=None)

        def told(line: program.Line) -> None:
            said = line.get("progress")
            if isinstance(said, dict):
                words = f"{_PHASES.get(str(said.get('phase')), '')} {said.get('file')}"
                shown.update(task, description=words, completed=said.get("read"), total=said.get("of"))
            elif isinstance(said := line.get("live"), dict):
                shown.update(
                    task, description=f"{said.get('by')} takes frames on {said.get('interface')}; Ctrl-C ends it"
                )

        yield told
