"""The laboratory itself: it leaves nothing behind, whatever becomes of a test, and its tapes miss nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from namespaces import environment
from network import Host, Laboratory, until

from provisioner.capture.files import of_paths

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
_FORSAKEN = """
import sys, pathlib
from network import Laboratory
with Laboratory(pathlib.Path(sys.argv[1])) as lab:
    with lab.host("phone").program("sh", "-c", "sleep 1000 & echo begun; wait", until="begun") as one:
        print(lab.holder, one.pid, flush=True)
        sys.stdin.read()
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with Laboratory(tmp_path_factory.mktemp("laboratory")) as made:
        one, other = made.host("one"), made.host("other")
        made.cable(one, "eth0", other, "eth0")
        one.ip("addr add 192.0.2.1/24 dev eth0")
        other.ip("addr add 192.0.2.2/24 dev eth0")
        yield made


@pytest.fixture
def one(lab: Laboratory) -> Host:
    return lab.host("one")


def test_a_test_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    paths = f"{HERE}{os.pathsep}{HERE.parent}"
    killed = subprocess.Popen(
        [sys.executable, "-c", _FORSAKEN, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment({"PYTHONPATH": paths}),
    )  # fmt: skip
    assert killed.stdin is not None and killed.stdout is not None
    with killed.stdin, killed.stdout:
        pids = killed.stdout.readline().split()
        assert len(pids) == 2 and all(Path(f"/proc/{pid}").exists() for pid in pids)
        killed.kill()
        killed.wait()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), lambda: f"{pids} are still there")


def test_a_tape_has_every_frame(lab: Laboratory, one: Host, tmp_path: Path) -> None:
    with lab.host("other").capture("eth0", tmp_path / "all.pcap", "icmp[icmptype] == icmp-echo") as tape:
        one.must("busybox", "ping", "-c", "200", "-i", "0.001", "192.0.2.2")
    assert len(list(of_paths([tape])[0].frames())) == 200


def test_who_takes_too_long_is_killed(one: Host) -> None:
    assert one.run("sleep", "30", seconds=0.1).returncode in {137, -signal.SIGKILL}


def test_a_program_that_stands_still_goes_on_and_ends(one: Host) -> None:
    with one.program("sh", "-c", "trap 'echo over; exit 0' TERM; echo begun; while :; do sleep 0.02; done") as program:
        program.says("begun")
        program.tell(signal.SIGSTOP)
        until(lambda: "T (stopped)" in Path(f"/proc/{program.pid}/status").read_text(), program.log)
        program.tell(signal.SIGCONT)
    assert "over" in program.log() and not program.lives


def test_a_program_that_ends_before_it_says_its_word_is_told_of(one: Host) -> None:
    with pytest.raises(AssertionError, match="has ended: oh"), one.program("echo", "oh", until="never"):
        raise AssertionError("it was taken for begun")
