"""What the demonstration says below its table."""

from __future__ import annotations

import pytest
from seen import asked, of, record, tls

from provisioner.demo.cast import CAST
from provisioner.demo.diagnoses import show_diagnoses


def test_each_that_was_refused_is_explained_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    refused = [one for one in CAST if one.refusal]
    impostor = of([*tls()[:3], record("verdict", 90_000.1, verdict="untrusted", why="its issuer is unknown")])
    thief = of([*tls(), *asked("0004f2de0001.cfg", 403, reason="not_yours")])
    show_diagnoses(list(zip(refused, (impostor, thief), strict=True)))
    told = capsys.readouterr().out
    assert told.count("the SERVER refused the phone") == 2
    assert "seen: verdict untrusted: its issuer is unknown" in told
    assert "seen: GET 0004f2de0001.cfg: 403 (not_yours)" in told
