"""A page of cards to print: everything in one file that asks no host, readable by its owner alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from provisioner.activation.letters import Card
from provisioner.errors import Conflict, Unusable
from provisioner.mail.text import Texts, svg
from provisioner.settings import Settings


def sheet(settings: Settings, cards: Sequence[Card], language: str = "") -> str:
    """The page in a language, or in that of the first card's account, or in mail.language."""
    texts = Texts(settings.data / "templates")
    spoken = texts.spoken(language, cards[0].language if cards else "", settings.mail_language)
    told = [
        {"name": one.name, "number": one.number, "account": one.account, "code": one.code, "until": one.until(),
         "zone": one.zone, "only_for": one.only_for, "link": one.link, "picture": svg(one.link or one.digits)}
        for one in cards
    ]  # fmt: skip
    return texts.page(f"{spoken}/sheet.html.j2", {"cards": told, "language": spoken})


@contextmanager
def sheet_file(path: Path, *, force: bool) -> Iterator[IO[str]]:
    """A file for its owner alone that appears under its name when all is in it; Conflict where that is taken.

    It is made before anything is revealed, so that nothing is revealed in vain.
    """
    if path.exists() and not force:
        raise Conflict(f"{path} is there already: --force overwrites it")
    try:
        descriptor, name = tempfile.mkstemp(prefix=".sheet-", dir=path.parent)  # mode 0600
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        _name(Path(name), path, force)
    finally:
        Path(name).unlink(missing_ok=True)


def _name(made: Path, path: Path, force: bool) -> None:
    try:
        if force:
            made.replace(path)
        else:
            path.hardlink_to(made)  # fails where somebody was quicker
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {error.strerror}") from error
