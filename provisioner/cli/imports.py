"""Taking over accounts, people and phones from files: `provisioner import`, first with --dry-run, then without."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from provisioner.cli.session import OK, REFUSED, Verb, acting, session, writing
from provisioner.errors import Invalid
from provisioner.imports.imports import Imported, Imports, Told
from provisioner.imports.report import as_objects, as_table, as_text
from provisioner.imports.rows import MOST_BYTES, Format, Sheet
from provisioner.imports.steps import Outcome
from provisioner.store.database import Store
from provisioner.terminal import Shown, console
from provisioner.vendors import drivers

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("import", cls=Verb)
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE...")
@click.option(
    "--format",
    "written_by",
    type=click.Choice([one.value for one in Format]),
    default=Format.AUTO.value,
    show_default=True,
    help="Whose file it is; auto looks at its columns.",
)
@click.option("--account", default="", metavar="ACCOUNT", help="Name or id of the account of rows that name none.")
@click.option("--site", default="", metavar="SITE", help="Name of the site of devices whose rows name none.")
@click.option("--dry-run", is_flag=True, help="Say what would become of each row, and write nothing.")
@click.option(
    "--results",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="OUT.CSV",
    help="Write what became of each row to this file.",
)
def import_(
    files: tuple[Path, ...], written_by: str, account: str, site: str, dry_run: bool, results: Path | None
) -> object:
    """Take accounts' sites, users, extensions and devices over from files.

    A CSV of one's own, FusionPBX's export of devices and their lines, or Wazo's lists of devices: docs/how-to/import.md
    has the columns. A row that is refused does not stop the others; run again, what is there already is "already so".
    Ctrl-C ends it behind a whole row. Exit code 1: at least one row was refused, or it ended early.
    """
    contents = [_content(path) for path in files]
    found = asyncio.run(_imported(contents, Format(written_by), account, site, dry_run))
    if results is not None:
        _write(results, found)
    told = found.counts.keys() & {Outcome.REFUSED, Outcome.NOT_DONE} or found.stopped
    return Shown(as_objects(found), as_text(found), exit_code=REFUSED if told else OK)


def _content(path: Path) -> bytes:
    """No more of it than is read at most."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Invalid("file", f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, found: Imported) -> None:
    """With a byte order mark: spreadsheets take it for UTF-8 then."""
    with writing(path, "--results"):
        path.write_text(as_table(found), encoding="utf-8-sig", newline="")


async def _imported(contents: list[bytes], written_by: Format, account: str, site: str, dry_run: bool) -> Imported:
    async with _desk() as desk:
        sheet = desk.read(contents, format=written_by)
        with _watched(sheet, dry_run) as told:
            if dry_run:
                return await desk.plan_import(sheet, account=account, site=site, told=told)
            with _interrupted() as stop:
                return await desk.apply_import(sheet, account=account, site=site, told=told, stop=stop)


@asynccontextmanager
async def _desk() -> AsyncIterator[Imports]:
    configured = session().settings()
    async with Store.of(configured) as store:
        known = {one.manifest.name: one for one in drivers(configured.data / "templates")}
        yield Imports(store, known, actor=acting())


@contextmanager
def _interrupted() -> Iterator[Callable[[], bool]]:
    """Ctrl-C asks for an end behind a whole row; a second one ends it at once, and the batch is taken back."""
    asked: list[bool] = []
    loop = asyncio.get_running_loop()

    def heed() -> None:
        asked.append(True)
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, heed)
    try:
        yield lambda: bool(asked)
    finally:
        loop.remove_signal_handler(signal.SIGINT)


@contextmanager
def _watched(sheet: Sheet, dry_run: bool) -> Iterator[Told]:
    """A bar on a terminal; nothing anywhere else."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as shown:
        bar = shown.add_task("looked at" if dry_run else "imported", total=len(sheet.rows))
        yield lambda done, total: shown.update(bar, completed=done, total=total)
