import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import provisioner
from provisioner import errors
from provisioner.errors import NotYours, PinMismatch
from provisioner.events import KINDS, EventLog, masked
from provisioner.model import NOBODY, ListenerKind, Peer, TlsFacts

PEER = Peer(NOBODY, TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", "prov.example.net"), ListenerKind.DEVICE, "192.0.2.7")


def test_a_repeat_is_held_back_and_told_with_its_number_a_minute_later():
    told = []
    log = EventLog(told.append)
    for second in range(100):
        log.refused(NotYours("why"), PEER, "/x.cfg", "UA", float(second))
    assert [event.at for event in told] == [0.0, 60.0]
    assert told[1].details["repeated"] == "59"


def test_a_thousand_names_from_one_address_are_one_event():
    told = []
    log = EventLog(told.append)
    for number in range(1000):
        log.refused(NotYours("why"), PEER, f"/{number}", "UA", 1.0)
    assert len(told) == 1


def test_memory_stays_bounded_however_many_addresses_try():
    log = EventLog([].append)
    for number in range(10_000):
        log.refused(NotYours("why"), replace(PEER, address=str(number)), "/x", "UA", 1.0)
    assert len(log._repeats._told) <= 4096


def test_a_clock_that_jumps_back_does_not_silence_anything():
    told = []
    log = EventLog(told.append)
    log.refused(NotYours("why"), PEER, "/x", "UA", 1_000_000.0)
    log.refused(NotYours("why"), PEER, "/x", "UA", 10.0)
    assert len(told) == 2


def test_what_a_stranger_sends_cannot_forge_lines_and_a_token_is_not_shown():
    told = []
    EventLog(told.append).refused(PinMismatch("why"), PEER, "/t/SECRETTOKEN/x.cfg", "UA\r\n\x1b[31mroot", 1.0)
    (event,) = told
    assert event.severity == "alarm"
    assert event.details["path"] == "/t/***/x.cfg"
    assert event.details["user_agent"] == "UA\\x0d\\x0a\\x1b[31mroot"
    assert "SECRETTOKEN" not in repr(event)
    for path in ("//t/abc/d", "/prov/t/abc/f", "/x?u=/t/abc", f"/%74/{'q' * 22}/f"):
        assert "abc" not in masked(path)
        assert "qqq" not in masked(path)


def told_by_name() -> Iterator[str]:
    """The kinds that the code writes as words: in ``change.audit(...)``, ``_note(...)`` and ``Event(...)``."""
    for path in Path(provisioner.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                position = {"audit": 0, "Event": 0, "_note": 2}.get(called, len(node.args))
                for word in ast.walk(node.args[position]) if position < len(node.args) else ():
                    if isinstance(word, ast.Constant) and isinstance(word.value, str) and word.value.isidentifier():
                        yield word.value


def written_anywhere() -> Iterator[str]:
    """All words of the code but the list's own: some kinds are handed on before they are told."""
    for path in Path(provisioner.__file__).parent.rglob("*.py"):
        if path.name != "events.py" or path.parent.name != "provisioner":
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_every_kind_that_is_told_is_listed_and_no_other():
    refusals = {one.kind for one in vars(errors).values() if isinstance(one, type) and hasattr(one, "kind")}
    told = set(told_by_name())
    assert len(told) > 25
    assert told - set(KINDS) == set()
    assert set(KINDS) - told - refusals - set(written_anywhere()) == set()
    assert {one.kind for one in errors.Refused.__subclasses__()} <= set(KINDS)
    assert all(says for says in KINDS.values())


def test_a_files_name_with_its_mac_is_no_token() -> None:
    for name in ("0004f2de0006-directory.xml", "000000000000-directory.xml", "0004F2DE0006-license.cfg"):
        assert masked(f"/{name}") == f"/{name}"
    for token in ("0004f2de0006-Directory1234", "0004f2de00061234567890abcdef", "0004f2de0006-directory-0123456789"):
        assert masked(f"/{token}") == "/***"
