# SPDX-License-Identifier: GPL-2.0-only
"""`provisioner-capture`: reads and takes captures; one JSON object a line on stdout, and nothing else."""

from __future__ import annotations

import argparse
import ipaddress
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from provisioner.capture.lines import as_line, ask, say
from provisioner.capture.scapy_layers import MISSING, NoScapy

OK, MISUSED, FAILED = 0, 2, 3
"""1 is Python's own, for a fault of the program."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb; its exit code: 0 done, 2 wrong usage, 3 nothing could be read."""
    told = _parser().parse_args(words)
    try:
        return int(told.run(told))
    except NoScapy:
        say({"error": MISSING})
    except OSError as error:
        say({"error": f"{error.filename or 'the system'}: {error.strerror or error}"})
    except KeyboardInterrupt:
        say({"error": "interrupted"})
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("provisioner-capture", description="What frames say of one phone, as JSON lines.")
    verbs = parser.add_subparsers(required=True, metavar="read|frames|live|cut")
    read = _verb(verbs, "read", _read, "the facts of a phone; without --mac the phones that are there")
    read.add_argument("files", nargs="+", type=Path)
    read.add_argument("--mac", type=_mac, help="of the phone")
    read.add_argument("--address", action="append", default=[], type=_address, help="of a phone behind a router")
    read.add_argument("--progress", action="store_true", help="say how far it is")
    frames = _verb(verbs, "frames", _frames, "single frames with their fields named")
    frames.add_argument("files", nargs="+", type=Path)
    frames.add_argument("--frame", action="append", default=[], metavar="REF", help="'FILE frame N'; can be repeated")
    live = _verb(verbs, "live", _live, "take frames from an interface into a ring of files")
    live.add_argument("-i", "--interface", required=True)
    live.add_argument("--into", type=Path, required=True, help="an empty folder")
    live.add_argument("--mac", type=_mac)
    live.add_argument("--address", action="append", default=[], type=_network, help="and what comes from there")
    live.add_argument("--seconds", type=float, default=60.0)
    live.add_argument("--megabytes", type=int, default=64, help="of the whole ring")
    live.add_argument("--by", choices=("dumpcap", "tcpdump", "socket"), help="which program takes them")
    cut = _verb(verbs, "cut", _cut, "one phone's frames without secrets, as pcapng")
    cut.add_argument("files", nargs="+", type=Path)
    cut.add_argument("--mac", type=_mac, required=True)
    cut.add_argument("--into", type=Path, required=True, help="a folder that is there")
    cut.add_argument("--keys", action="store_true", help="ask on stdout, by stdin, to have TLS opened and sealed again")
    return parser


Verbs = argparse._SubParsersAction  # argparse has no public name for it


def _verb(verbs: Verbs[argparse.ArgumentParser], name: str, run: object, words: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=words, description=words)
    verb.set_defaults(run=run)
    return verb


def _mac(said: str) -> bytes:
    bare = re.sub(r"[:.\-\s]", "", said)
    if not re.fullmatch(r"[0-9A-Fa-f]{12}", bare):
        raise argparse.ArgumentTypeError(f"{said!r} is no MAC")
    return bytes.fromhex(bare)


def _address(said: str) -> bytes:
    try:
        return ipaddress.ip_address(said).packed
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{said!r} is no address") from error


def _network(said: str) -> str:
    """An address, or 64 bits of one of IPv6: so much of it a site has."""
    try:
        found = ipaddress.ip_network(said)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{said!r} is no address") from error
    if found.prefixlen not in (found.max_prefixlen, 64):
        raise argparse.ArgumentTypeError(f"{said!r} is more than one site")
    return said


def _read(told: argparse.Namespace) -> int:
    from provisioner.capture.course import Course  # each verb loads what it needs

    course = Course(told.files, say if told.progress else None)
    mac = told.mac
    if mac is None and not told.address:
        phones = course.phones()
        say({"phones": phones})
        mac = course.only_one(phones)
    facts = course.facts(mac, told.address) if mac or told.address else course.broken()
    for one in facts:
        say(as_line(one))
    say({"done": {"mac": mac.hex() if mac else "", "facts": len(facts), "frames": course.frames}})
    return OK if course.frames else FAILED


def _frames(told: argparse.Namespace) -> int:
    from provisioner.capture.exhibits import exhibits

    found = 0
    for one in exhibits(told.files, told.frame):
        found += 1
        say({"frame": one})
    say({"done": {"frames": found}})
    return OK if found == len(set(told.frame)) else FAILED


def _live(told: argparse.Namespace) -> int:
    from provisioner.capture.live import Wanted, take

    wanted = Wanted(told.interface, told.into, told.mac, told.seconds, told.megabytes, tuple(told.address))
    return OK if take(wanted, told.by, say) else FAILED


def _cut(told: argparse.Namespace) -> int:
    from provisioner.capture.cutting import cut

    say({"cut": cut(told.files, told.mac, told.into, ask if told.keys else None)})
    return OK


def run() -> None:
    """The installed command."""
    sys.exit(main())


if __name__ == "__main__":
    run()
