"""A switch behind snmpd (pass_persist, snmpd.conf(5)): stateful, so that a port which loses power loses its link."""

from __future__ import annotations

import json
import sys
from bisect import bisect_right
from pathlib import Path

POE_ADMIN = "1.3.6.1.2.1.105.1.1.1.3.1."
POE_DETECTION = "1.3.6.1.2.1.105.1.1.1.6.1."
IF_OPER = "1.3.6.1.2.1.2.2.1.8."


SEEN: dict[str, object] = {"at": None}
"""The rows as they were read last, and their order: a walk asks for each."""


def load(path: Path) -> dict[str, list[str]]:
    found = path.stat()
    stamp = found.st_ino, found.st_mtime_ns, found.st_size
    if SEEN["at"] != stamp:
        rows = json.loads(path.read_text())["rows"]
        SEEN.update(at=stamp, rows=rows, order=sorted((key(oid), oid) for oid in rows))
    return SEEN["rows"]  # type: ignore[return-value]  # as it was put there


def key(oid: str) -> list[int]:
    return [int(part) for part in oid.strip(".").split(".")]


def served(table: dict[str, list[str]], oid: str) -> list[str]:
    row = table.get(oid)
    return ["NONE"] if row is None else ["." + oid, *row]


def following(oid: str) -> str | None:
    order: list[tuple[list[int], str]] = SEEN["order"]  # type: ignore[assignment]  # as it was put there
    place = bisect_right(order, (key(oid), "~"))
    return order[place][1] if place < len(order) else None


def changed(path: Path, oid: str, value: str) -> str:
    """What a switch does when the power of a port is changed; its moods say what it does wrong."""
    said = json.loads(path.read_text())
    table, mood = said["rows"], said["mood"]
    if oid not in table or not oid.startswith(POE_ADMIN):
        return "not-writable"
    number = value.split()[-1]
    if mood.get("deaf") or (mood.get("stays off") and number == "1"):
        said["ignored"] = said.get("ignored", 0) + 1
        path.write_text(json.dumps(said))
        return "DONE"
    port, before = oid.rpartition(".")[2], table[oid][1]
    table[oid][1] = number
    on = number == "1"
    if number != before:
        table[POE_DETECTION + port][1] = "3" if on else "1"
    if number != before and not mood.get("link stays"):
        table[IF_OPER + str(10_100 + int(port))][1] = "1" if on else "2"
    said["log"] = [*said.get("log", []), [port, number]]
    spare = path.with_suffix(".new")
    spare.write_text(json.dumps(said))
    spare.replace(path)
    return "DONE"


def main() -> None:
    path = Path(sys.argv[1])
    lines = iter(sys.stdin.readline, "")
    for line in lines:
        word = line.strip().lower()
        if word == "ping":
            answer = ["PONG"]
        elif word in ("get", "getnext"):
            table, oid = load(path), next(lines).strip().strip(".")
            found = oid if word == "get" else following(oid)
            answer = ["NONE"] if found is None else served(table, found)
        elif word == "set":
            oid, value = next(lines).strip().strip("."), next(lines).strip()
            answer = [changed(path, oid, value)]
        else:
            continue
        sys.stdout.write("\n".join(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
