"""The capture program from outside: its license holds, its lines are facts, nothing secret leaves, it always ends."""

from __future__ import annotations

import ast
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner
from wire import PHONE, PHONE_IP, SERVER_IP, Talk, Tape, boot, dhcp, interface, ip, option, packet, pcap, section, udp

from provisioner.capture.files import CaptureFile
from provisioner.cli.main import cli
from provisioner.diagnosis import facts as words
from provisioner.diagnosis.facts import Kind
from provisioner.errors import Unusable
from provisioner.evidence import program
from provisioner.evidence.program import facts_of
from provisioner.model import Mac

MAC = Mac(PHONE)
HERE = Path(program.__file__).parents[1] / "capture"
SECRETS = (b"geheim", b"hunter2", b"Z2VoZWlt", b"AbCdEfGhIjKlMnOpQrStUv", b"sessionid")
LOADED = """
import sys
from pathlib import Path
from provisioner.capture.__main__ import main
main(["read", "--mac", sys.argv[2], sys.argv[1]])
main(["frames", sys.argv[1], "--frame", Path(sys.argv[1]).name + " frame 1"])
main(["cut", sys.argv[1], "--mac", sys.argv[2], "--into", str(Path(sys.argv[1]).parent)])
from provisioner.capture import live, ring
print("\\n".join(sorted(name for name, module in sys.modules.items() if module is not None)))
"""


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return boot().save(tmp_path / "boot.pcap")


# --- license ---------------------------------------------------------------------------------------


def test_it_loads_nothing_of_the_server_and_nothing_under_apache(capture: Path) -> None:
    """The whole program is run; the license of everything that it has loaded is looked up."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOADED, str(capture), PHONE],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = [line for line in done.stdout.splitlines() if re.fullmatch(r"[\w.]+", line)]
    assert "scapy.contrib.lldp" in loaded, "the frame with LLDP is dissected"
    own = [one for one in loaded if one.startswith("provisioner.")]
    assert own and not [one for one in own if not one.startswith("provisioner.capture")]
    owners = metadata.packages_distributions()
    packages = {name for one in loaded for name in owners.get(one.partition(".")[0], ())} - {"provisioner"}
    assert "scapy" in packages
    assert {name: license_of(name) for name in packages if not compatible(license_of(name))} == {}


def license_of(package: str) -> str:
    told = metadata.metadata(package)
    return told.get("License-Expression") or told.get("License") or " ".join(told.get_all("Classifier") or ())


def compatible(said: str) -> bool:
    return bool(re.search(r"GPL-2|MIT|BSD|PSF|Python Software", said)) and "Apache" not in said


def test_every_file_of_it_bears_its_license() -> None:
    files = sorted(HERE.rglob("*.py"))
    assert len(files) > 20
    assert [
        one.name for one in files if not one.read_text().startswith("# SPDX-License-Identifier: GPL-2.0-only\n")
    ] == []
    assert "GNU GENERAL PUBLIC LICENSE" in (HERE / "LICENSE").read_text()


def test_nobody_else_imports_it() -> None:
    """One process, one license: the rest of the product speaks to it through a pipe."""
    product = [one for one in HERE.parent.rglob("*.py") if HERE not in one.parents]
    assert [
        one.name
        for one in product
        if re.search(r"^\s*(from|import) (provisioner\.capture|scapy)", one.read_text(), re.M)
    ] == []


def test_every_fact_that_it_can_say_is_one_that_the_diagnosis_knows() -> None:
    """Kinds and the names of their values, as the code says them, against the words beside each kind."""
    tree = ast.parse(Path(words.__file__).read_text())
    kinds = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Kind")
    told = {
        one.value.value: set(re.findall(r"\w+", after.value.value))
        for one, after in zip(kinds.body, kinds.body[1:], strict=False)
        if isinstance(one, ast.Assign) and isinstance(after, ast.Expr)
    }  # fmt: skip
    said = [pair for path in HERE.rglob("*.py") for pair in spoken(ast.parse(path.read_text()))]
    assert len(said) > 40
    assert {kind for kind, _ in said} - {str(one) for one in Kind} == set()
    assert [(kind, name) for kind, name in said if name and name.removeprefix("option_") not in told[kind]] == []


def spoken(tree: ast.AST) -> list[tuple[str, str]]:
    """Each (kind, name) of calls of fact() and _fact()."""
    return [
        (call.args[0].value, (word.arg or "").rstrip("_"))
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
        and (getattr(call.func, "id", "") == "fact" or getattr(call.func, "attr", "") == "_fact")
        for word in call.keywords
    ]  # fmt: skip


# --- its lines -------------------------------------------------------------------------------------


def test_facts_come_through_the_pipe(capture: Path) -> None:
    found = facts_of([capture], MAC)
    assert [one["status"] for one in found if one.kind is Kind.ANSWER] == ["200"]
    assert str(found[0].witness) == "capture: boot.pcap frame 1"


def test_without_a_mac_the_only_phone_is_meant(capture: Path) -> None:
    found = program.read([capture])
    assert found.mac == MAC and found.phones[0].addresses == (PHONE_IP,) and found.facts


def test_frames_come_with_their_fields(capture: Path) -> None:
    shown = program.exhibits([capture], ["boot.pcap frame 2", "boot.pcap frame 2", "boot.pcap frame 99"])
    assert [one.ref for one in shown] == ["boot.pcap frame 2"]
    assert ("Ethernet", "src", "00:04:f2:aa:bb:cc") in shown[0].fields
    assert shown[0].data[6:12].hex() == PHONE


def test_of_several_phones_one_has_to_be_named(tmp_path: Path) -> None:
    tape = boot()
    tape.frames += boot(Tape(phone="001565000001")).frames
    with pytest.raises(Unusable, match="00:15:65:00:00:01"):
        facts_of([tape.save(tmp_path / "two.pcap")])
    with pytest.raises(Unusable, match="no phone shows itself"):
        facts_of([Tape().save(tmp_path / "none.pcap")])


def test_without_scapy_it_says_what_to_install(tmp_path: Path, capture: Path) -> None:
    words = "import sys; sys.modules['scapy'] = None; from provisioner.capture.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-I", "-c", words, "read", "--mac", PHONE, str(capture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert json.loads(done.stdout.splitlines()[-1])["error"].endswith("`pip install 'provisioner[capture]'` brings it")


def test_what_is_no_capture_is_said(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"GIF89a")
    found = program.read([tmp_path / "x"], MAC)
    assert found.facts[0]["why"] == "this is no pcap and no pcapng file"


def test_what_was_read_before_the_damage_counts(tmp_path: Path) -> None:
    """A second member of the file that is none: RFC 1952 section 2.2."""
    whole = gzip.compress(boot().save(tmp_path / "a.pcap").read_bytes(), mtime=0)
    (tmp_path / "a.pcap.gz").write_bytes(whole + whole[:10] + b"\7" + bytes(30))
    found = program.read([tmp_path / "a.pcap.gz"], MAC)
    assert found.frames == len(boot().frames) and {"broken", "request"} <= {one.kind for one in found.facts}


def test_a_fault_of_the_program_is_no_ordinary_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python ends with 1 where nobody catches what is raised."""
    broken = tmp_path / "python"
    broken.write_text('#!/bin/sh\necho \'{"done":{"mac":"","frames":1}}\'\necho "KeyError: 7" >&2\nexit 1\n')
    broken.chmod(0o700)
    monkeypatch.setattr(program.sys, "executable", str(broken))
    with pytest.raises(Unusable, match="the capture program has failed: KeyError: 7"):
        program.read([tmp_path / "x"])


def test_wrong_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="capture program has failed"):
        list(program.lines(["read", "--mac", "nonsense", "x"], seconds=20))


def test_it_is_ended_when_it_takes_too_long(tmp_path: Path) -> None:
    """Nothing ever comes through this pipe."""
    os.mkfifo(tmp_path / "never")
    begun = time.monotonic()
    with pytest.raises(Unusable, match="too long"):
        program.read([tmp_path / "never"], MAC, seconds=1.0)
    assert time.monotonic() - begun < 15


def test_it_does_not_outlive_whoever_asked(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    lines = program.lines(["read", "--mac", PHONE, str(tmp_path / "never")], seconds=60)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            next(iter(lines))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not running(tmp_path)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def running(folder: Path) -> list[str]:
    """Processes that were given something in the folder."""
    lines = [one.read_bytes() for one in Path("/proc").glob("[0-9]*/cmdline") if one.exists()]
    return [line.decode() for line in lines if str(folder).encode() in line]


# --- secrets ---------------------------------------------------------------------------------------


def secretive() -> Tape:
    """Every place in which phones have secrets in clear."""
    tape = boot()
    tape.down(
        ip("10.0.0.1", PHONE_IP, 17, udp(67, 68, dhcp(5, option(66, b"https://ada:geheim@prov.example.net"), op=2)))
    )
    head = b"Authorization: Basic Z2VoZWlt\r\nCookie: sessionid=1\r\n"
    talk = Talk(tape, port=80, sport=40_009).open()
    talk.say("phone", b"GET /t/AbCdEfGhIjKlMnOpQrStUv/x.cfg?password=geheim HTTP/1.1\r\n" + head + b"\r\n")
    talk.say("server", b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + b"account.1.password = hunter2\n" * 100)
    sip = b"REGISTER sip:p SIP/2.0\r\nProxy-Authorization: Digest username=x, response=Z2VoZWlt\r\n\r\n"
    tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(5060, 5060, sip)))
    tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(514, 514, b"<3>password=hunter2")))
    tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(2001, 69, b"\0\1a.cfg\0octet\0")))
    tape.down(ip(SERVER_IP, PHONE_IP, 17, udp(3001, 2001, b"\0\3\0\1user.password=hunter2")))
    keys = b"\x80\x65" + bytes(10) + b"\x07\x8a\x03\x20"
    tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(16384, 20000, keys)))
    return tape


def test_no_secret_is_cut_out_with_the_frames(tmp_path: Path) -> None:
    path = secretive().save(tmp_path / "all.pcap")
    assert all(secret in path.read_bytes() for secret in SECRETS)
    (tmp_path / "out").mkdir()
    made = [program.cut([path], MAC, tmp_path / "out").file]
    data = next(iter(made)).read_bytes()
    assert not [secret for secret in SECRETS if secret in data]
    assert b"\x07\x8a\x03\x20" not in data, "which key it was"
    assert next(iter(made)).stat().st_mode & 0o077 == 0
    assert [one for one in facts_of(list(made), MAC) if one.kind is Kind.REQUEST], "and it can be read as before"


def test_no_secret_is_in_facts_or_frames(tmp_path: Path) -> None:
    path = secretive().save(tmp_path / "all.pcap")
    refs = [f"all.pcap frame {number}" for number in range(1, 60)]
    told = repr(facts_of([path], MAC)).encode() + b"".join(
        one.data + repr(one.fields).encode() for one in program.exhibits([path], refs)
    )
    assert not [secret for secret in SECRETS if secret in told]


def test_the_bundle_has_only_this_phone(tmp_path: Path) -> None:
    tape = secretive()
    other = Tape(phone="001565000001")
    Talk(other, phone="10.0.0.6", port=80).open().say("phone", b"GET /0004f2aabbcc.cfg HTTP/1.1\r\n\r\n")
    tape.frames += other.frames
    path = tape.save(tmp_path / "all.pcap")
    path.write_bytes(path.read_bytes()[:-3])
    out = tmp_path / "bundle"
    done = CliRunner().invoke(cli, ["--data", str(tmp_path), "capture", "bundle", PHONE, str(path), "--into", str(out)])
    assert done.exit_code == 0, done.output
    assert "not all of it is in there: all.pcap: the file ends in the middle of frame" in done.output
    assert {one.name for one in out.iterdir()} == {f"{PHONE}.pcapng", "verdict.json", "facts.jsonl", "report.html"}
    kept = list(CaptureFile([(out / f"{PHONE}.pcapng", "")]).frames())
    assert len(kept) > 20
    assert not [one for one in kept if bytes.fromhex("001565000001") in one.data], "though it asks for the other's file"
    whole = b"".join(one.read_bytes() for one in out.iterdir())
    assert not [secret for secret in SECRETS if secret in whole]
    assert json.loads((out / "verdict.json").read_text())["mac"] == PHONE


def test_what_the_server_saw_lies_beside_it(run: Callable[..., object], tmp_path: Path, capture: Path) -> None:
    """Of a device that nobody has added as well: a stranger's connection may be all there is."""
    run("capture", "bundle", PHONE, str(capture), "--into", str(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "records.json").read_text()) == []


ODD = section() + interface(offset=1 << 62) + packet(1, boot().frames[0][1])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"hello", "is in x.pcap: there is no evidence; x.pcap: this is no pcap and no pcapng file"),
        (b"", "there is no evidence; x.pcap: the file is empty"),
        (pcap([(1, boot(Tape(phone="001565000001")).frames[0][1])]), "no frame of 00:04:f2:aa:bb:cc is in x.pcap"),
        (ODD, "there is no evidence; x.pcap: frame 1 says a time that no clock shows"),
    ],
)
def test_of_nothing_there_is_no_bundle(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "x.pcap").write_bytes(data)
    words = ["--data", str(tmp_path), "capture", "bundle", PHONE, str(tmp_path / "x.pcap"), "--into"]
    done = CliRunner().invoke(cli, [*words, str(tmp_path / "out")])
    assert done.exit_code != 0 and not (tmp_path / "out").exists()
    assert why in " ".join(done.output.split())


def test_half_a_bundle_is_none(tmp_path: Path, capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Unusable("no room")

    monkeypatch.setattr(program, "exhibits", fail)
    words = ["--data", str(tmp_path), "capture", "bundle", PHONE, str(capture), "--into", str(tmp_path / "out")]
    assert CliRunner().invoke(cli, words).exit_code != 0
    assert not (tmp_path / "out").exists()


# --- the command line ------------------------------------------------------------------------------


def test_read_says_what_the_ladder_says(tmp_path: Path, capture: Path) -> None:
    done = CliRunner().invoke(cli, ["--data", str(tmp_path), "capture", "read", str(capture), "--json"])
    told = json.loads(done.stdout)
    assert told["mac"] == PHONE and done.exit_code == told["exit"]
    assert any("boot.pcap frame" in cited for step in told["ladder"] for cited in step["witnesses"])
    people = CliRunner().invoke(cli, ["--data", str(tmp_path), "capture", "read", str(capture)])
    assert told["title"] in people.stdout


def test_several_phones_are_listed(tmp_path: Path) -> None:
    tape = boot()
    tape.frames += boot(Tape(phone="001565000001")).frames
    path = tape.save(tmp_path / "two.pcap")
    done = CliRunner().invoke(cli, ["--data", str(tmp_path), "capture", "read", str(path)])
    assert done.exit_code == 1 and "--mac" in done.stderr
    assert "00:15:65:00:00:01" in done.stdout and "Poly made it" in done.stdout


def test_the_page_needs_nothing_and_obeys_nobody(tmp_path: Path) -> None:
    """What a hostile phone says of itself is text, and no tag of it."""
    tape = boot()
    evil = b"<script src=https://evil.example/x></script><img onerror=alert(1)>"
    tape.down(ip("10.0.0.1", PHONE_IP, 17, udp(67, 68, dhcp(5, option(66, evil), yours=PHONE_IP, op=2))))
    path, html = tape.save(tmp_path / "evil.pcap"), tmp_path / "report.html"
    CliRunner().invoke(cli, ["--data", str(tmp_path), "capture", "read", str(path), "--html", str(html)])
    page = html.read_text()
    assert "&lt;script src=" in page
    assert not re.search(r"<(script|img|link|iframe)|src=\"|href=|url\(|@import", page)
    assert page.count("<svg") == 1 and "GET /0004f2aabbcc.cfg" in page and "<h2>The ladder</h2>" in page
    assert "<h2>The frames that decide</h2>" in page and "<pre>0000  " in page
