"""Import: files of another system, or of ours, are looked at row by row first; then a job takes them over."""

from __future__ import annotations

import asyncio
from typing import Final

from provisioner.errors import Invalid
from provisioner.http.console.choices import Choices, accounts
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.imports.imports import RIGHTS
from provisioner.imports.rows import MOST_BYTES, Format
from provisioner.rights import Right

imports = Pages()

_FORMATS: Final[Choices] = [
    (Format.AUTO.value, "found out by its columns"),
    (Format.OWN.value, "a table of your own (CSV)"),
    (Format.FUSIONPBX.value, "FusionPBX: exported devices and lines"),
    (Format.WAZO.value, "Wazo: devices and their configurations (JSON)"),
]
_EXAMPLE: Final = "account,site,user,email,extension,mac,model,line"
_KIB: Final = 1024
_ECHOED: Final = 512 * _KIB
"""Characters of pasted text that are shown again where something is wrong with it."""


@imports.get("/import", Right.PEOPLE_WRITE)
async def import_page(call: Call) -> Answer:
    """Files or text, whose format, and where rows belong that do not say it."""
    for right in (*RIGHTS, Right.JOB_WRITE):
        call.who.doing(right)
    text, owners = call.form.raw("text"), await accounts(call)
    values = {
        "accounts": owners,
        "account": call.form.typed("account", owners[0][0] if len(owners) == 1 else ""),
        "formats": _FORMATS,
        "example": _EXAMPLE,
        "text": text if len(text) <= _ECHOED else "",
        "most": MOST_BYTES // _KIB // _KIB,
    }
    return View("import.html.j2", values)


@imports.post("/import", Right.PEOPLE_WRITE, again=import_page, whole=False, files=MOST_BYTES)
async def look_at_import(call: Call) -> Answer:
    """Every row is looked at, and nothing is written but the job that says what would become of each."""
    form = call.form
    chosen = form.text("format")
    desk = call.desks.imports
    sheet = await asyncio.to_thread(
        desk.read, _contents(call), format=Format(chosen) if chosen in set(Format) else Format.AUTO
    )
    job = await desk.begin_import(sheet, account=form.text("account"), site=form.text("site"), dry_run=True)
    return See(f"/jobs/{job.id}", "Nothing is taken over yet: look at what would become of each row.")


def _contents(call: Call) -> list[bytes]:
    """The files, or the text that was pasted."""
    files = [one.content for one in call.form.files.get("file", ())]
    text = call.form.raw("text")
    if files and text.strip():
        raise Invalid("text", "is there beside a file: choose one of them")
    if not files and not text.strip():
        raise Invalid("file", "choose a file, or paste its text")
    return files or [text.encode()]
