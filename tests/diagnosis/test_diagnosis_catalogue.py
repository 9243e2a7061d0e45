"""The catalogue: all rows are there, each with everything, strictly read; its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import provisioner.diagnosis.catalogue as module
from provisioner.cli.cures import typed
from provisioner.deeds import Cure
from provisioner.diagnosis.catalogue import Rung, catalogue, read_catalogue
from provisioner.diagnosis.grouped import Group, grouped, row_of
from provisioner.errors import Refused, Unusable
from provisioner.model import Verdict
from provisioner.store.flights import Trouble
from provisioner.tls_names import ALERTS, BY_FAULT

TEXT = Path(module.__file__).with_name("catalogue.toml").read_text("utf-8")


def test_all_seventy_six_are_there_and_what_only_this_server_knows() -> None:
    assert list(catalogue().rows) == list(range(1, 91))
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


def test_no_text_names_a_command_and_each_deed_is_known() -> None:
    """The same rows are read on the command line, in the console and by the API: each has words of its own."""
    said = [line for line in TEXT.splitlines() if not line.startswith("#")]
    assert [line for line in said if re.search(r"provisioner |`|\{|(?<![\w-])--[a-z]", line)] == []
    done = {one.deed for one in catalogue().rows.values()} - {None}
    asked = {one.deed for one in (*catalogue().places.values(), *catalogue().lookalikes)}
    assert done and asked and len(re.findall("(?m)^deed = ", TEXT)) > len(done | asked)
    with pytest.raises(Unusable, match="there is no deed"):
        read_catalogue(TEXT.replace('deed = "ask_switch"', 'deed = "ask_nobody"', 1))


def test_the_command_line_says_which_phone() -> None:
    places = [typed(Cure(one.deed, "0004f2aabbcc")) for one in catalogue().places.values()]
    assert all("0004f2aabbcc" in one and "`" not in one for one in places), places


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
