"""Captures: CPU and memory of reading 100,000 packets and a gigabyte, and what is lost at 20,000 packets a second."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))
sys.path.append(str(Path(__file__).parents[1] / "tests/capture"))

import test_capture_speed as frames  # the very frames of the tests, and where they lie
from wire import PHONE, Talk, Tape, boot, pcap

from provisioner.diagnosis.facts import Kind
from provisioner.evidence import program
from provisioner.model import Mac

GOAL_CPU = 5.0
"""s for 100,000 packets."""
GOAL_MEMORY = 300 << 20
"""bytes for a gigabyte."""
TAKERS = ("dumpcap", "tcpdump", "socket")


def read(args: argparse.Namespace, scratch: Path) -> Mapping[str, object]:
    """Both sizes, a few times each."""
    crowd = scratch / "crowd.pcap"
    crowd.write_bytes(pcap(frames.crowd()))
    many = _runs(crowd, args.rounds)
    print(f"{frames.PACKETS:,} packets: {many['cpu_s']} s of CPU (goal {GOAL_CPU}), {many['mib']} MiB")
    crowd.unlink()
    large = _large(scratch / "large.pcap", 1 << 26 if args.quick else frames.GIGABYTE)
    whole = _runs(large, 1 if args.quick else 2)
    size = large.stat().st_size >> 20
    print(f"{size:,} MiB: {whole['mib']} MiB of memory (goal {GOAL_MEMORY >> 20}), {whole['cpu_s']} s of CPU")
    return {"packets": {"count": frames.PACKETS, **many}, "gigabyte": {"mib_read": size, **whole}}


def _runs(path: Path, rounds: int) -> dict[str, object]:
    taken = [frames.run(path) for _ in range(rounds)]
    return {
        "mb": path.stat().st_size // 1_000_000,
        "cpu_s": round(statistics.median(cpu for cpu, _, _ in taken), 2),
        "cpu_s_each": [round(cpu, 2) for cpu, _, _ in taken],
        "mib": max(memory for _, memory, _ in taken) >> 20,
        "lines": taken[0][2],
    }


def _large(path: Path, size: int) -> Path:
    """Somebody else's download, in which the phone boots."""
    other = Tape(phone="001565000001")
    asks, sends = (("phone", b"GET / HTTP/1.1\r\n\r\n"), ("server", bytes(1 << 22)))
    Talk(other, port=80, phone="10.0.0.6", size=9000).open().flow([asks, sends])
    bulk = pcap(other.frames)[24:]
    with path.open("wb") as stream:
        stream.write(pcap(boot().frames))
        while stream.tell() < size:
            stream.write(bulk)
    return path


def live(args: argparse.Namespace, scratch: Path) -> Mapping[str, object]:
    """By each who can take frames, with the phone's own filter."""
    if os.getuid() != 0:
        print("live: left out, as it needs root")
        return {"left_out": "it needs root"}
    found: dict[str, object] = {"packets_a_second": frames.RATE, "seconds": frames.FOR}
    for by in TAKERS:
        if by == "socket" or shutil.which(by):
            rounds = [_taken(by, scratch / f"{by}{number}") for number in range(1 if args.quick else args.rounds)]
            lost, sent, dropped = zip(*rounds, strict=True)
            found[by] = {"of_the_phone": frames.OURS, "lost": lost, "sent_in_s": sent, "dropped": dropped}
            print(f"live by {by} at {frames.RATE:,} packets/s: {found[by]}")
    return found


def _taken(by: str, into: Path) -> tuple[int, float, int]:
    """Of the phone's frames those that are missing; how long sending took; what the kernel dropped."""
    taken: list[program.Taken] = []
    begun = threading.Event()

    def take() -> None:
        seconds = frames.FOR + 4.0
        taken.append(program.live("lo", into, Mac(PHONE), seconds=seconds, by=by, told=lambda _: begun.set()))

    thread = threading.Thread(target=take)
    thread.start()
    begun.wait(10)
    time.sleep(2.0)  # it says so before it does
    began = time.monotonic()
    frames.send()
    lasted = time.monotonic() - began
    thread.join(60)
    names = {one["name"] for one in program.facts_of(taken[0].files, Mac(PHONE)) if one.kind is Kind.DNS}
    shutil.rmtree(into)
    return frames.OURS - len(names), round(lasted, 2), taken[0].dropped
