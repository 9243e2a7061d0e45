"""Import: files of another system, or of ours, are taken over as a job, or looked at first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from email.parser import BytesParser
from email.policy import HTTP
from typing import Annotated, Final

from pydantic import Field

from provisioner.errors import Malformed
from provisioner.http.api.jobs import Job
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import Asked, MaybeRef
from provisioner.imports.formats import read_sheet
from provisioner.imports.rows import MOST_BYTES, Format, Sheet
from provisioner.rights import Right

imports = Routes(
    "import",
    "Sites, people, extensions, devices and who is on which line, out of a CSV of one's own, FusionPBX's exports or "
    "Wazo's lists of devices.",
)

_FORM: Final = "multipart/form-data"
MEDIA: Final = ("text/csv", "application/json", _FORM)
"""One file as it is, or several, as a form sends them."""


class ImportAsked(Asked):
    """How the files are meant."""

    format: Annotated[Format, Field(description="Whose files they are; auto looks at them")] = Format.AUTO
    account: Annotated[MaybeRef, Field(description="Of rows that name none")] = ""
    site: Annotated[
        MaybeRef, Field(description="Name, of devices whose rows have none; it is added where it is new")
    ] = ""
    dry_run: Annotated[bool, Field(description="Look at every row and change nothing")] = False
    partly: Annotated[bool, Field(description="Take the other rows over where some are refused")] = False


async def read_files(call: AnyCall) -> Sheet:
    """What stands in the files; parsed beside everything else that is asked of this server."""
    request, raw = call.request, call.body
    form = request.headers.get("Content-Type", "") if request.content_type == _FORM else ""
    return await asyncio.to_thread(_sheet, raw, form, call.query.format)


def _sheet(raw: bytes, form: str, asked: Format) -> Sheet:
    return read_sheet(files_of(raw, form) if form else [raw], asked)


def files_of(raw: bytes, form: str) -> Sequence[bytes]:
    """The files of a form in their order (RFC 7578), by its Content-Type; what is no file in it is left out."""
    whole = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {form}\r\n\r\n".encode("ascii", "replace") + raw)
    parts = [part for part in whole.iter_parts() if part.get_filename() is not None] if whole.is_multipart() else []
    if not parts:
        raise Malformed("the form has no file in it: send each as a part with a file name")
    return [bytes(part.get_payload(decode=True) or b"") for part in parts]


@imports.post(
    "/import",
    Right.PEOPLE_WRITE,
    query=ImportAsked,
    takes=MEDIA,
    most=MOST_BYTES,
    told=Job,
    status=202,
    made_at="/jobs/{id}",
    tags=False,
    prepare=read_files,
)
async def begin_import(call: AnyCall) -> Job:
    """Take over what stands in files: 202 and a job, whose rows say what came of each. All rows are looked at first;
    where one is refused nothing is taken over unless `partly`, and the job's `apply` still does the others. It takes
    every right that a row may need: people, sites, passwords, devices, lines and jobs.
    """
    query: ImportAsked = call.query
    made = await call.desks.imports.begin_import(
        call.ready, account=query.account, site=query.site, dry_run=query.dry_run, partly=query.partly
    )
    return Job.model_validate(made)
