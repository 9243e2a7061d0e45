"""What the demonstration says below its table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from seen import asked, booted, of, record, tls

from provisioner.demo.cast import CAST
from provisioner.demo.diagnoses import show_diagnoses


def test_each_that_was_refused_is_explained_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    refused = [one for one in CAST if one.refusal]
    came = [
        *tls("x-1", 95_000)[:3],
        record("verdict", 95_000.1, "x-1", verdict="untrusted", why="its issuer is unknown"),
    ]
    impostor = of([*booted(), *(replace(one, values={**one.values, "whose": "maybe"}) for one in came)])
    thief = of([*tls(), *asked("0004f2de0001.cfg", 403, reason="not_yours")])
    show_diagnoses(list(zip(refused, (impostor, thief), strict=True)))
    told = capsys.readouterr().out
    assert "It comes up, and somebody else has come in its name: The phone's certificate comes from a CA that" in told
    assert told.count("the SERVER refused the phone") == 1
    assert "seen: GET 0004f2de0001.cfg: 403 (not_yours)" in told
