"""Frames are taken by whoever may, for whoever asked alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from wire import PHONE

from provisioner.capture import live, ring
from provisioner.errors import Unusable
from provisioner.evidence import program
from provisioner.model import Mac

MAC = Mac(PHONE)


def test_live_without_the_right_says_what_to_do(tmp_path: Path) -> None:
    """As a user who may not take frames."""
    if os.getuid() != 0:
        with pytest.raises(Unusable, match="CAP_NET_RAW"):
            program.live("lo", tmp_path / "ring", MAC, seconds=1, by="socket")
        return
    (tmp_path / "ring").mkdir()
    words = ["-I", "-m", "provisioner.capture", "live", "-i", "lo", "--into", str(tmp_path / "ring"), "--by", "socket"]
    done = subprocess.run(
        ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", sys.executable, *words],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 3 and "CAP_NET_RAW" in json.loads(done.stdout.splitlines()[-1])["error"]


def test_one_phone_of_any_interface_cannot_be_had(tmp_path: Path) -> None:
    for by in ("tcpdump", "dumpcap", "socket"):
        with pytest.raises(Unusable, match="name the interface at which it is"):
            program.live("any", tmp_path / "ring", MAC, seconds=1, by=by)


def test_what_is_taken_is_its_takers_alone(tmp_path: Path) -> None:
    """Whatever the mask of the shell and the mode of the folder."""
    before = os.umask(0)
    try:
        with ring._Ring(tmp_path, 1 << 20) as files:
            files.keep(1, b"frame")
        live._run(["touch", str(tmp_path / "ring.pcap")], lambda: True)
    finally:
        os.umask(before)
    modes = {one.name: one.stat().st_mode & 0o777 for one in tmp_path.iterdir()}
    assert modes == {"ring_00001.pcapng": 0o600, "ring.pcap": 0o600}


def test_live_on_an_interface_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unusable):
        program.live("nosuch0", tmp_path / "ring", seconds=1, by="socket")
