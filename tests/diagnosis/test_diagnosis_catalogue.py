"""The catalogue: all rows are there, each with everything, strictly read; its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import provisioner.diagnosis.catalogue as module
from provisioner.cli.main import cli
from provisioner.diagnosis.catalogue import Rung, catalogue, read_catalogue
from provisioner.diagnosis.grouped import Group, grouped, row_of
from provisioner.errors import Refused, Unusable
from provisioner.model import Verdict
from provisioner.store.flights import Trouble
from provisioner.tls_names import ALERTS, BY_FAULT

TEXT = Path(module.__file__).with_name("catalogue.toml").read_text("utf-8")


def test_all_seventy_six_are_there_and_what_only_this_server_knows() -> None:
    assert list(catalogue().rows) == list(range(1, 86))
    assert {one.rung for one in catalogue().rows.values()} == set(Rung)


@pytest.mark.parametrize(("before", "after"), [
    ('refused = "none"', 'refused = "nobody"'),
    ("id = 2\n", "id = 1\n"),
    ("id = 2\n", 'id = "2"\n'),
    ('title = "The port gives no power, or too little"', 'titel = "x"'),
    ('phone = "dark, or starts over and over"\n', ""),
    ('phone = "dark, or starts over and over"', 'phone = " "'),
    ('rung = "power"', 'rung = "socket"'),
    ("rows = [4, 10]", "rows = [4]"),
    ("rows = [4, 10]", "rows = [4, 999]"),
    ("exit = 10", "exit = 2"),
    ("[row.cures]\nyealink = ", "[row.cures]\nyealink = 1 # "),
    ("[[lookalike]]", "[[alike]]"),
    ('id = "power"', 'id = "link"'),
])  # fmt: skip
def test_a_mistake_in_the_data_is_found_when_it_is_read(before: str, after: str) -> None:
    assert before in TEXT
    with pytest.raises(Unusable, match="catalogue"):
        read_catalogue(TEXT.replace(before, after, 1))


def commands() -> list[str]:
    return sorted(set(re.findall(r"`?(provisioner [a-z][^`\"\n]*)", TEXT)))


@pytest.mark.parametrize("line", commands())
def test_each_command_that_it_names_exists(line: str) -> None:
    command: click.Command = cli
    options: set[str] = set()
    for word in line.split()[1:]:
        if word.startswith("-"):
            options.add(word)
        elif isinstance(command, click.Group) and (child := command.get_command(click.Context(command), word)):
            command = child
    assert not isinstance(command, click.Group), f"{line}: which of its commands?"
    known = {name for one in command.params for name in one.opts}
    assert options <= known, line


def test_the_mac_stands_where_a_command_needs_it() -> None:
    needs = re.compile(r"provisioner (?:why|device (?:add|allow|restore|bind|wipe)|resync|render)\b(?! --fleet)")
    for line in commands():
        assert "{mac}" in line or not needs.match(line), line


# --- one word of the recorder, one row -----------------------------------------------------------------


def test_each_word_of_the_recorder_is_a_row() -> None:
    words = [f"alert_{name}" for name in ALERTS.values()] + [f"verdict_{one}" for one in Verdict]
    words += [*BY_FAULT, "handshake_timeout", "left", "no_request", "plain_http", "gate_deadline", "gate_crowded"]
    words += [one.kind for one in Refused.__subclasses__() if one.status not in {408, 416}]
    rows = {word: row_of(word) for word in words if word != "verdict_unique"}
    assert [word for word, row in rows.items() if not row and word not in {"refused"}] == []


def trouble(label: str, model: str, phones: int, first: float = 10.0, *, known: bool = True) -> Trouble:
    return Trouble(label, "yealink" if known else "", model, phones, known, first, first + 5)


def test_many_phones_are_few_sentences() -> None:
    found = grouped([
        trouble("verdict_untrusted", "T21P", 30, 12.0), trouble("verdict_self_signed", "T23G", 7, 11.0),
        trouble("not_yours", "T46S", 1), trouble("something_new", "T46S", 2),
        trouble("alert_unknown_ca", "", 3, known=False),
    ])  # fmt: skip
    assert [one.says for one in found] == [
        "37 phones: The phone's certificate comes from a CA that is not trusted here, 30 T21P, 7 T23G",
        "2 phones: something new, all T46S",
        "1 phone: The certificate names another phone than the file, T46S",
        "3 addresses: The phone does not know the CA of the server's certificate",
    ]
    first: Group = found[0]
    assert (first.first, first.last, first.row and first.row.id) == (11.0, 17.0, 49)
