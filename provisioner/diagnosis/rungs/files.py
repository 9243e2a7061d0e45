"""HTTP, files and reboot loops: what was asked for and what came of it. Pure.

Rule: 404 is part of phones' boot sequences. It is a failure for the configuration that a phone cannot do without, and
only where no later answer gave it one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, TypeVar

from provisioner.diagnosis.case import Case, Finding, Gap, Judged, Mark, below
from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.facts import Fact, Kind, Source
from provisioner.diagnosis.rungs.exchanges import GOOD, Exchange, exchanges

T = TypeVar("T", Exchange, Fact)
_ANSWERED: Final = below(Rung.SERVER_TRUSTS)
_SERVED: Final = below(Rung.HTTP)
_CONFIGURED: Final = below(Rung.FILE)
_IN_COMMON: Final = _CONFIGURED - {Rung.CERTIFICATE_MAC}
"""What everybody gets proves nothing about a name."""
_LOOP: Final = frozenset({Rung.LOOP})
_IDENTITY: Final = frozenset({"not_identified"})
_REASONS: Final = {
    "revoked": 77, "unknown_device": 78, "pin_mismatch": 79, "wrong_listener": 80, "wrong_vendor": 63, "not_yours": 57,
    "render_failed": 84, "store_failed": 84, "internal": 84, "deferred": 71, "paused": 71, "busy": 71,
    "needs_credentials": 61,
}  # fmt: skip
"""This server's words for refusals -> row."""
_HARMLESS: Final = frozenset({71})
"""Of a file that the phone can do without, such a refusal is nobody's trouble."""
_TLS_PORT, _PLAIN_PORT = 443, 80
_ON_THE_WAY: Final = frozenset({407, 511})
"""A proxy, and a network, that want somebody to sign in (RFC 9110 section 15.5.8, RFC 6585 section 6)."""
_OWN_MASTER: Final = re.compile(r"[0-9a-f]{12}\.cfg", re.I)
_FOR_ALL: Final = "000000000000.cfg"
_BOOTS: Final = 3
_APART: Final = 20.0
"""s between two questions for an address that are two boots: within one, they come every few seconds."""
_NOTED: Final = 35.0
"""s: that it was told is noted when it has answered, at the latest when SIP gives up (RFC 3261 section 17.1.2.2)."""
_HEEDED: Final = 300.0
"""s within which a phone that was told comes, also where it restarts for that."""
_BOOT: Final = 60.0
"""s in which one boot fetches all its files."""
_SETTLED: Final = 300.0
"""s without a fetch: a phone in a loop would have been back."""


def judge(case: Case) -> Judged:
    """Everything above TLS."""
    found = exchanges(case)
    served = [one for one in found if one.good and one.config and not one.sends]
    often = Counter(one.file for one in served if one.unreadable)
    masters = [one.at for one in served if one.file == _FOR_ALL]
    rows = [
        (one, _unfit(case, one, often[one.file]) if one.good else _row(one, bool(served)))
        for one in found
        if not _is_own_master(one, masters)
    ]
    plain = {row for one, row in rows if one.config}
    for one, row in rows:
        if one.config or not row or row not in plain:  # the configuration says it best
            yield from _judge_exchange(one, row)
    for fact in case.of_kind(Kind.REFUSED_EARLY, by="admission"):
        yield Finding(71, fact.at, (fact.witness,), fact["why"] or "held back")
    for fact in case.of_kind(Kind.UPLOAD):
        yield Mark(_SERVED, fact.at, fact.witness, f"it has sent {fact['file'] or 'a file'}")
    yield from _cut(case)
    yield from _tftp(case)
    yield from _loop(case, [one for one in found if one.good and not one.sends])


def _is_own_master(one: Exchange, masters: Sequence[float]) -> bool:
    """Polycom phones ask for a master file of their own first, and take that of all where there is none."""
    return (
        one.status == 404 and bool(_OWN_MASTER.fullmatch(one.file)) and any(0 <= at - one.at < _BOOT for at in masters)
    )


# --- one request ---------------------------------------------------------------------------------------


def _judge_exchange(one: Exchange, row: int) -> Judged:
    if one.good and not row:
        yield from _good(one)
    elif row:
        says = f"{one.method} {one.file or '?'}: {one.status or '?'}{_because(one)}"
        yield Finding(row, one.at, one.seen, says, sure=_is_sure(one, row))
    elif not one.status:
        yield Gap(Rung.HTTP, "the answer was encrypted")


def _is_sure(one: Exchange, row: int) -> bool:
    """What a stranger's status means is mostly not said in it."""
    ours = one.witness.source is Source.SERVER
    if row == 36:
        return one.port == _TLS_PORT
    if row in {66, 84} or (row == 34 and one.status == 403):
        return ours or (row == 34 and "html" in one.media.lower())
    return row not in {57, 59, 62} or one.config or bool(one.reason)


def _because(one: Exchange) -> str:
    if one.reason:
        return f" ({one.reason})"
    if not one.whole:
        who = {"phone": "; the phone has ended it", "server": "; the server has ended it"}.get(one.ended_by, "")
        return f", cut short{who}"
    if one.owner and one.status in GOOD:
        return f" (it says that it is for {one.owner})"
    return f" ({one.media or one.looks})" if one.is_page or one.unreadable or one.packed else ""


def _good(one: Exchange) -> Iterator[Mark]:
    """An answered request proves the way; that it has its configuration only the configuration itself does."""
    says = f"{one.method} {one.file or '?'}: {one.status}"
    if one.config and not one.sends:
        yield Mark(_CONFIGURED if one.own else _IN_COMMON, one.at, one.witness, says)
    else:
        yield Mark(_ANSWERED, one.at, one.witness, says)
        yield Mark(frozenset({Rung.HTTP}), one.at, one.witness, says, heals=one.sends)


def _unfit(case: Case, one: Exchange, often: int) -> int:
    """Grandstream's files name their phone, which drops another's. Ciphertext is fine until it is asked for anew."""
    if one.owner and case.subject.mac and one.owner != case.subject.mac:
        return 64
    return 66 if often >= _BOOTS and one.unreadable else 0


def _row(one: Exchange, served: bool) -> int:
    """Row of the catalogue; 0 where nothing is wrong, or another rung tells of it."""
    if one.reason in _IDENTITY:
        return 0
    if row := _REASONS.get(one.reason, 0):
        return 0 if row in _HARMLESS and not one.config else row
    if one.sends:
        return 67 if one.status in {403, 405, 413} and not one.log else 0
    if not one.whole and one.status in {200, 206}:
        return 73 if one.firmware else 65
    if one.is_page or (300 <= one.status < 400 and one.status != 304):
        return 34
    return 89 if one.packed else _by_status(one, served)


def _by_status(one: Exchange, served: bool) -> int:
    if one.status == 404:
        return 62 if one.own or not (served or one.optional) else 0
    if one.witness.source is not Source.SERVER and (row := _by_stranger(one)):
        return row
    if one.status >= 500 and one.status != 503:
        return 84
    return {400: 62, 401: 61, 403: 57, 429: 71, 495: 59, 496: 59, 503: 71}.get(one.status, 0)


def _by_stranger(one: Exchange) -> int:
    """Seen on the wire: whoever answers may be a proxy, or a port that expects something else."""
    if one.status in {502, 504}:
        return 88
    if one.status == 400:
        return 36 if one.port not in {0, _PLAIN_PORT} else 0 if one.port else 59
    return 34 if one.status in _ON_THE_WAY or (one.status == 403 and one.port) else 0


def _cut(case: Case) -> Iterator[Finding]:
    """Reset in the middle of an answer, where no record of the answer says so itself."""
    for one in case.ours():
        for fact in one.of(Kind.RESET):
            if (
                fact["after"] != "answer"
                or fact["by"] == "phone"
                or (one.left_at is not None and one.left_at <= fact.at)
            ):
                continue
            name = one.said(Kind.REQUEST, "file") or one.said(Kind.REQUEST, "path").rpartition("/")[2]
            image = name.lower().endswith((".ld", ".rom", ".bin", ".img", ".zip"))
            yield Finding(73 if image else 65, fact.at, (fact.witness,), f"RST inside {name or 'an answer'}")


def _tftp(case: Case) -> Judged:
    told = case.of_kind(Kind.TFTP)
    for one in told:
        if one["type"] == "error":
            yield Finding(75, one.at, (one.witness,), f"TFTP error {one['error']} for {one['file'] or 'a file'}")
    asked = [one for one in told if one["type"] == "request"]
    if not asked or any(one["type"] in {"error", "data"} for one in told):
        return
    if case.blind:
        yield Gap(Rung.HTTP, "frames were lost, so TFTP may have been answered")
    else:
        yield Finding(75, asked[-1].at, (asked[-1].witness,), f"TFTP for {asked[-1]['file'] or 'a file'}: no data")


# --- reboot loop ---------------------------------------------------------------------------------------


def _loop(case: Case, got: Sequence[Exchange]) -> Judged:
    """The same bytes again and again; or again and again a new boot, with the same file in it."""
    rules = case.subject.rules
    configs = [one for one in got if one.config]
    if not configs:
        yield from _by_boots(case, [])
        return
    last = configs[-1]
    repeats = _most(_unbidden(case, configs), last.at - rules.loop_window)
    loops = len(repeats) >= rules.loop_fetches
    if loops and case.now - last.at <= rules.loop_window:
        yield _looping(repeats)
    elif not loops and not (found := list(_by_boots(case, configs))):
        if case.now - last.at >= _SETTLED:
            yield Mark(_LOOP, last.at, last.witness, "it has not come back for five minutes", heals=False)
    elif not loops:
        yield from found
    else:
        yield Mark(_LOOP, case.now, last.witness, "it was in a loop and is not any more", heals=False)


def _unbidden(case: Case, came: Sequence[T]) -> Sequence[T]:
    """Without what it did because it was told to: the first time after each NOTIFY, and the rest of that boot."""
    left: Sequence[T] = came
    for told in case.of_kind(Kind.NOTIFY):
        first = next((one.at for one in left if told.at - _NOTED <= one.at <= told.at + _HEEDED), None)
        if first is not None:
            left = [one for one in left if not first <= one.at <= first + _BOOT]
    return left


def _most(configs: Sequence[Exchange], since: float) -> list[Exchange]:
    same: dict[tuple[str, str], list[Exchange]] = {}
    for one in configs:
        if one.at >= since:
            same.setdefault((one.file, one.etag), []).append(one)
    return max((same[key] for key in sorted(same)), key=len, default=[])


def _looping(repeats: Sequence[Exchange]) -> Finding:
    minutes = max(1, round((repeats[-1].at - repeats[0].at) / 60))
    says = f"{repeats[0].file} fetched {len(repeats)} times within {minutes} min, the same bytes each time"
    return Finding(68, repeats[-1].at, tuple(one.witness for one in repeats[-3:]), says)


def _by_boots(case: Case, configs: Sequence[Exchange]) -> Iterator[Finding]:
    """Each DISCOVER behind a pause is a boot; a file or a handshake in each of them says that it came up every time."""
    asked = [*_unbidden(case, [one for one in case.of_kind(Kind.DHCP) if one["type"] == "discover"])]
    boots = asked[:1] + [later for one, later in pairwise(asked) if later.at - one.at > _APART]
    boots = [one for one in boots if one.at >= boots[-1].at - case.subject.rules.loop_window] if boots else []
    if len(boots) < _BOOTS:
        return
    came = [one.at for one in configs] or [one.at for one in case.of_kind(Kind.TLS_DONE)]
    ends = [*(one.at for one in boots[1:]), float("inf")]
    up = sum(any(boot.at <= at < end for at in came) for boot, end in zip(boots, ends, strict=True))
    if up >= _BOOTS - 1:
        says = f"{len(boots)} boots within {max(1, round((boots[-1].at - boots[0].at) / 60))} min"
        seen = tuple(one.witness for one in boots[-3:])
        yield Finding(68, max(boots[-1].at, *came), seen, says, sure=bool(configs))
