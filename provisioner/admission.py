"""May this known device go on now: yes, in n seconds, or later. Pure: ``now`` is given, in monotonic seconds.

The rule: a slow answer is better than a refusal. Who is over a limit waits; a status is given only where that family of
phones is known, or assumed, to be better off with it, and never to a device that has no configuration yet. Limits are
kept by device, site and account, never by address: five hundred honest phones may share one. Phones that are nobody's
yet have no account, so they are counted by address as well, apart from all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from provisioner.errors import Busy, Deferred, Unusable
from provisioner.gcra import Ceilings, Gcra
from provisioner.model import BootView, Count, Device, FileKind, Mac, Model
from provisioner.settings import Settings

_LEASE: Final = 900.0
"""s after which a transfer of firmware no longer counts as under way, whatever became of it."""
_AT_ONCE: Final = 2
"""Uploads of one device under way: no phone is known to send more, and few certificates shall not fill a worker."""
_RESERVE: Final = 4
"""Uploads of the largest size for which there is room beyond upload.budget, for devices without configuration."""
_TINY: Final = 1e-6
"""s: more than floating point is wrong by."""
_UNKNOWABLE: Final = float("inf")
"""When a transfer of somebody else will end."""
LATER_KINDS: Final = (FileKind.FIRMWARE, FileKind.LOG, FileKind.DIRECTORY, FileKind.CALLS)
"""Files without which a phone rings all the same."""


class Rank(StrEnum):
    """Classes, the most urgent first."""

    P0 = "p0"
    """Has never acknowledged a configuration: it cannot ring. Whatever it asks for is urgent."""
    P1 = "p1"
    """Something that concerns it has changed since it last fetched its configuration."""
    P2 = "p2"
    """Up to date: it rings from its own memory."""
    P3 = "p3"
    """Firmware, logs, phone books; and phones that are nobody's yet, which wait for activation."""


class Errand(StrEnum):
    """What a request is, beside being a request: each has limits of its own."""

    REQUEST = "request"
    UPLOAD = "upload"
    FIRMWARE = "firmware"
    """The beginning of a transfer; its later parts are plain requests (``Admission.goes_on``)."""


class StormState(Protocol):
    """What is read of the gate's storm."""

    on: bool
    since: float
    capacity: float
    """Connections a second that this worker can begin; 0 until measured."""


class Decision(NamedTuple):
    """Go on after ``hold`` seconds, or answer ``status`` (503 or 404)."""

    hold: float = 0.0
    status: int = 0
    retry_after: int = 0
    """s, with 503."""
    cause: str = ""


GO: Final = Decision()
_WENT_ON: Final = {errand.value: {rank.value: f"{errand}_ok_{rank}_admitted" for rank in Rank} for errand in Errand}
_WORDS: Final = frozenset({"p1", "p2", "p3", *(kind.value for kind in LATER_KINDS)})


_P0, _P1, _P2, _P3 = Rank  # names of this module: each look-up on an Enum costs as much as a bucket
_REQUEST: Final = Errand.REQUEST


def rank_of(view: BootView, kind: FileKind) -> Rank:
    """The class of a request: what the device lacks comes before what it asks for."""
    if view.served < 0:
        return _P0
    if kind in LATER_KINDS:
        return _P3
    return _P1 if view.served < view.changed else _P2


class _Over(NamedTuple):
    """A limit that is exceeded."""

    wait: float
    """s until it no longer is."""
    stage: str
    reason: str
    meter: Gcra | None = None
    key: str = ""
    flood: bool = False
    """A device's own limit, by more than a whole burst: one request after another, each of them held, owe no more."""


class _Begun(NamedTuple):
    """An image that a device has begun to fetch."""

    left: int
    """Bytes that later parts of it may still have."""
    until: float


class Lease:
    """A transfer of firmware under way to a site; ``end`` it when the last byte is out, or it ends itself."""

    __slots__ = ("_leases", "until")

    def __init__(self, leases: set[Lease], until: float) -> None:
        self._leases = leases
        self.until = until
        leases.add(self)

    def end(self) -> None:
        """The site has room for another one; doing so twice is no harm."""
        self._leases.discard(self)


class Admission:
    """The limits of one worker. ``draw(a, b)`` gives a random number between a and b, for the jitter."""

    def __init__(
        self,
        settings: Settings,
        storm: StormState,
        count: Count,
        draw: Callable[[float, float], float],
        models: Iterable[Model],
    ) -> None:
        self._settings, self._storm, self._count, self._draw = settings, storm, count, draw
        self._enforced = settings.admission_mode == "enforce"
        self._answers = answers_of(models, settings.admission_answers)
        keys = settings.admission_keys
        many, few = max(keys // 3, 1), max(keys // 12, 1)
        minute, hour = 60.0, 3600.0
        self._requests = Gcra(settings.admission_requests / minute, settings.admission_requests_burst, many)
        self._handshakes = Gcra(settings.admission_handshakes / minute, settings.admission_handshakes_burst, many)
        self._uploads = Gcra(settings.admission_uploads / minute, settings.admission_uploads_burst, few)
        self._firmware = Gcra(settings.admission_firmware / hour, settings.admission_firmware_burst, few)
        ceiling = settings.admission_files, settings.admission_floor, settings.admission_requests_burst, few
        self._sites, self._accounts = Ceilings(*ceiling), Ceilings(*ceiling)
        self._offers = Gcra(settings.activation_offers / minute, settings.activation_offers_burst, few)
        self._offer_places = Gcra(
            settings.activation_offers_address / minute, settings.activation_offers_address_burst, few
        )
        self._leases: dict[str, set[Lease]] = {}
        self._known: Mapping[str, int] = {}
        self._fleet = 0
        self._back: set[str] = set()
        self._storm_seen = 0.0
        self._begun: dict[str, _Begun] = {}
        self._most_begun = few
        self._sending: dict[Mac, int] = {}
        self._bytes = 0
        largest = max(settings.upload_log, settings.upload_overrides, settings.upload_directory)
        self._reserve = _RESERVE * largest

    @property
    def back(self) -> int:
        """Devices of which this worker has served a boot in the storm that is on."""
        return len(self._back) if self._storm.on and self._storm_seen == self._storm.since else 0

    def __len__(self) -> int:
        """Keys remembered."""
        meters = (self._requests, self._handshakes, self._uploads, self._firmware, self._sites, self._accounts)
        return sum(len(one) for one in (*meters, self._offers, self._offer_places))

    def learn(self, sites: Mapping[str, int], accounts: Mapping[str, int]) -> None:
        """How many devices each site and account has; each mapping is taken as it is and never changed."""
        if accounts is not self._known:
            self._known = accounts
            self._sites.learn(sites)
            self._accounts.learn(accounts)
            self._fleet = sum(accounts.values())

    def admit(
        self, view: BootView, kind: FileKind, now: float, errand: Errand = Errand.REQUEST, *, full: bool = False,
        spare: bool = True,
    ) -> Decision:  # fmt: skip
        """Decide on one request of a known device whose identity is proven, and count the decision.

        ``full``: the first request after a full handshake, which is charged here. ``spare``: the file would bring
        nothing that only this server has, so a 404 loses nothing.
        """
        rank, device = rank_of(view, kind), view.device
        over = self._over_request(device, now)
        if rank is _P3 and self._pauses(kind, errand):
            pause = _Over(_UNKNOWABLE, errand, "storm")
            over = [*over, pause]
            if self._verdict(device, kind, rank, pause, spare=spare).status:
                errand = _REQUEST  # what does not begin takes nothing of what beginnings may
        if full or errand is not _REQUEST:
            over = [*over, *self._over_rest(device, now, errand, full=full)]
        if not over:
            self._count("admissions", _WENT_ON[errand._value_][rank._value_])
            return GO
        worst = _worst(over, enforced=self._enforced)
        decision = self._answer(device, kind, rank, worst, spare=spare)
        _charge(over, decision, now)
        return decision if self._enforced or worst.reason == "storm" else GO

    def offer(self, device: Device, kind: FileKind, place: str, now: float) -> Decision:
        """Decide on one file of the activation configuration, in either mode; ``place`` is the address it came from.

        Such phones ring for nobody, so they take nothing from the limits of others and come last in a storm. One that
        has been added may never have had a configuration, so it waits and gets no status.
        """
        over: list[_Over] = []
        if own := self._offers.take(device.mac, now):
            over.append(self._own(own, "offer", self._offers, device.mac))
        elif there := self._offer_places.take(place, now):
            over.append(_Over(there, "offer", "address", self._offer_places, place))
        if self._storm.on and self._settings.storm_pause:
            over.append(_Over(_UNKNOWABLE, "offer", "storm"))
        if not over:
            self._count("admissions", "offer_ok_p3_admitted")
            return GO
        worst = _worst(over, enforced=True)
        decision = self._answer(device, kind, _P3, worst, spare=False, firm=True, patient=bool(device.account))
        _charge(over, decision, now)
        return decision

    def came_back(self, mac: Mac) -> None:
        """A boot of this device has been served; it is counted once a storm."""
        if not self._storm.on:
            return
        if self._storm_seen != self._storm.since:
            self._storm_seen = self._storm.since
            self._back = set()
        if len(self._back) < self._settings.admission_keys:
            self._back.add(mac)

    def lease(self, site: str, now: float) -> Lease | None:
        """A transfer of firmware begins; none is kept for a device that stands at no site, whose uplink is unknown."""
        if not site:
            return None
        return Lease(self._under_way(site, now), now + _LEASE)

    # --- parts of images, room for uploads ----------------------------------------------------------

    def began(self, mac: Mac, name: str, size: int, now: float) -> None:
        """From now on this device may fetch ``size`` bytes of this image in later parts."""
        self._begun.pop(key := f"{mac} {name}", None)
        if len(self._begun) >= self._most_begun:
            del self._begun[next(iter(self._begun))]
        self._begun[key] = _Begun(size, now + _LEASE)

    def goes_on(self, mac: Mac, name: str, size: int, now: float) -> bool:
        """Whether a part of ``size`` bytes belongs to what this device began here lately; otherwise it is a beginning.

        It takes the bytes: who asks for the same part again and again begins anew before he has had two images.
        """
        found = self._begun.get(key := f"{mac} {name}")
        if found is None or found.until <= now or found.left < size:
            return False
        self._begun[key] = found._replace(left=found.left - size)
        return True

    @contextmanager
    def room(self, mac: Mac, rank: Rank, size: int) -> Iterator[None]:
        """Memory for an upload, in either mode: Deferred for a device's third at once, Busy when there is none left."""
        if self._sending.get(mac, 0) >= _AT_ONCE:
            self._count("admissions", f"upload_parallel_{rank}_refused")
            raise Deferred(
                f"{mac}: {_AT_ONCE} uploads of this device are under way", retry_after=self._retry_after(0.0)
            )
        if self._bytes + size > self._settings.upload_budget + (self._reserve if rank is _P0 else 0):
            raise Busy(f"{self._bytes} bytes of uploads are under way")
        self._sending[mac] = self._sending.get(mac, 0) + 1
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size
            self._sending[mac] -= 1
            if not self._sending[mac]:
                del self._sending[mac]

    # --- limits -----------------------------------------------------------------------------------

    def _pauses(self, kind: FileKind, errand: Errand) -> bool:
        """Whether a P3 request has to wait for the end of a storm; what has begun of an image goes on."""
        return self._storm.on and self._settings.storm_pause and (errand is not _REQUEST or kind != "firmware")

    def _over_request(self, device: Device, now: float) -> Sequence[_Over]:
        """Who is over its own limit takes nothing from its site and account: the neighbours do not suffer for it."""
        mac, site, account = device.mac, device.site, device.account
        if own := self._requests.take(mac, now):
            return (self._own(own, "request", self._requests, mac),)
        place = self._sites.take(site, now) if site else 0.0
        whose = self._accounts.take(account, now)
        if not (place or whose):
            return ()
        over = (
            _Over(place, "request", "site", self._sites, site),
            _Over(whose, "request", "account", self._accounts, account),
        )
        return [one for one in over if one.wait]

    def _over_rest(self, device: Device, now: float, errand: Errand, *, full: bool) -> list[_Over]:
        """What a full handshake, an upload or a transfer of firmware takes beside the request."""
        meters = {"handshake": self._handshakes} if full else {}
        if errand is Errand.UPLOAD:
            meters["upload"] = self._uploads
        elif errand is Errand.FIRMWARE:
            meters["firmware"] = self._firmware
        over = [
            self._own(wait, stage, meter, device.mac)
            for stage, meter in meters.items()
            if (wait := meter.take(device.mac, now))
        ]
        if errand is Errand.FIRMWARE and self._site_is_busy(device.site, now):
            over.append(_Over(_UNKNOWABLE, "firmware", "parallel"))
        return over

    def _site_is_busy(self, site: str, now: float) -> bool:
        return bool(site) and len(self._under_way(site, now)) >= self._settings.admission_firmware_parallel

    def _own(self, wait: float, stage: str, meter: Gcra, mac: Mac) -> _Over:
        return _Over(wait, stage, "device", meter, mac, wait > meter.ahead + _TINY)

    def _under_way(self, site: str, now: float) -> set[Lease]:
        """Transfers to this site; those that lasted too long are no longer counted."""
        for place in [place for place, leases in self._leases.items() if not leases and place != site]:
            del self._leases[place]
        leases = self._leases.setdefault(site, set())
        for old in [one for one in leases if one.until <= now]:
            old.end()
        return leases

    # --- answers ----------------------------------------------------------------------------------

    def _answer(
        self, device: Device, kind: FileKind, rank: Rank, over: _Over, *, spare: bool, firm: bool = False,
        patient: bool = False,
    ) -> Decision:  # fmt: skip
        """What enforcing the limit means for it, counted; a storm's pause and what is ``firm`` hold in either mode."""
        decision = self._verdict(device, kind, rank, over, spare=spare, patient=patient)
        enforced = self._enforced or firm or over.reason == "storm"
        outcome = ("refused" if decision.status else "held") if enforced else "observed"
        self._count("admissions", f"{over.stage}_{over.reason}_{rank}_{outcome}")
        return decision

    def _verdict(
        self, device: Device, kind: FileKind, rank: Rank, over: _Over, *, spare: bool, patient: bool = False
    ) -> Decision:
        """A wait, or a status where that does good; never for P0, nor for who is ``patient``."""
        longest = self._settings.admission_hold
        held = Decision(min(over.wait, longest))
        if over.wait <= longest or rank is Rank.P0 or patient:
            return held
        words = self._answers.get(f"{device.vendor}/{device.model}", frozenset())
        cause = f"{device.mac}: {over.stage} limit of the {over.reason}, class {rank}"
        if over.flood or rank in words:
            return Decision(0.0, 503, self._retry_after(over.wait), cause)
        if rank is Rank.P3 and spare and kind in words:
            return Decision(0.0, 404, 0, cause)
        return held

    def _retry_after(self, wait: float) -> int:
        """Whole seconds: its own wait; in a storm when those who are still out can all have been served. Give or take
        a half.
        """
        settings, base = self._settings, 0.0 if wait == _UNKNOWABLE else wait
        if self._storm.on and self._storm.capacity > 0:
            outstanding = self._fleet / settings.worker_count - self.back
            base = max(base, outstanding / self._storm.capacity)
        base = min(max(base, settings.admission_retry_least), settings.admission_retry_most)
        return max(round(base * self._draw(0.5, 1.5)), 1)


def _worst(over: Iterable[_Over], *, enforced: bool) -> _Over:
    """What is answered: a flood before everything where it may be refused, otherwise the longest wait."""
    return max(over, key=lambda one: (one.flood and enforced, one.wait))


def _charge(over: Iterable[_Over], decision: Decision, now: float) -> None:
    """Who is served all the same owes it."""
    if decision.status:
        return
    for one in over:
        if one.meter is not None:
            one.meter.charge(one.key, now)


def answers_of(models: Iterable[Model], overrides: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """By ``vendor/model`` what may be said to it: as its family ships, or as the operator's entries have it.

    An entry is ``vendor/family=word+word`` or ``vendor/*=...``; the last that fits counts, as a whole.
    """
    chosen: dict[str, frozenset[str]] = {}
    for entry in overrides:
        name, equals, text = entry.partition("=")
        words = frozenset(filter(None, text.strip().split("+")))
        if not equals or "/" not in name or not words <= _WORDS:
            raise Unusable(
                f"admission.answers has {entry!r}: it must be VENDOR/FAMILY=WORD+WORD with words of"
                f" {', '.join(sorted(_WORDS))}; p0 is never refused"
            )
        chosen.pop(name.strip(), None)
        chosen[name.strip()] = words
    return {
        f"{one.vendor}/{one.name}": next(
            (chosen[name] for name in reversed(chosen) if name in (f"{one.vendor}/{one.family}", f"{one.vendor}/*")),
            frozenset(one.answers),
        )
        for one in models
    }
