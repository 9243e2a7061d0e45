"""The IVR's process: built by hand like a worker, on sockets that the control process has bound; all of it or none."""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

from ivr.adapters import FastAgi, Hooks
from ivr.prompts import PromptError, Prompts
from ivr.server import Server, ServerConfig, Sockets
from ivr.server_media import Voice
from ivr.sip.config import CoreConfig
from ivr.sip.effects import Credential
from provisioner.activation.activation import Activation
from provisioner.activation_secret import PURPOSE, credential
from provisioner.background import contained, every
from provisioner.capacity import Cores, estimated, is_recent, measured
from provisioner.children import Lifeline
from provisioner.counters import Counters, totals
from provisioner.errors import Unusable
from provisioner.ivr_adapters import admission, agi_of, hooks_of
from provisioner.ivr_desk import IvrDesk
from provisioner.ivr_edge import HookEdge, HookListener
from provisioner.model import ListenerKind
from provisioner.ports import Listening
from provisioner.resync.errands import Errands
from provisioner.resync.pbx import Pbx, ami_of
from provisioner.run_directory import RunDirectory
from provisioner.settings import Settings
from provisioner.shaping import campaign_pace
from provisioner.store.database import Store
from provisioner.store.records import Recorder
from provisioner.tenure import Tenure
from provisioner.vendor import VendorDriver

log: Final = logging.getLogger("provisioner.server")

_SLOT: Final = 1000
"""Metrics of this process lie beside those of the workers, whose slots are small."""
_SPARE: Final = 8
"""Calls beyond ivr.calls that hear in words that all lines are busy; any more get a 503."""
_BURST: Final = 3
"""s of ivr.rate that may come at once."""
_RESYNC: Final = 1.0
"""s between looks at which phones are to be told to fetch."""
_HANDSHAKE: Final = 0.01
"""s of a core that a handshake takes on a slow machine (assumed), until the workers have measured a boot."""
_LENGTHS: Final = 30.0
"""s between looks at how long open codes are; one that is longer than activation.digits is of an earlier setting."""
_LOOK: Final = 0.05
"""s between looks at whether the last call has ended."""
_CERTIFICATES: Final = 30.0
"""s between looks at whether the certificates were replaced."""


async def serve_ivr(
    settings: Settings, drivers: Mapping[str, VendorDriver], sockets: Listening, line: Lifeline
) -> None:
    """Answer calls until told to leave; then those under way may finish within server.drain."""
    async with AsyncExitStack() as stack:
        counters = Counters(RunDirectory(settings.data).metrics, _SLOT + line.slot, cpu=lambda: 0.0)
        stack.callback(counters.flush)
        store = await stack.enter_async_context(Store.of(settings))
        recorder = Recorder(store, settings, counters.count)
        stack.push_async_callback(contained, "flush", recorder.flush, counters.count)
        every(stack, settings.store_flush, "flush", recorder.flush, counters.count)
        errands = Errands(store, drivers, settings, pace=partial(_pace, settings))
        stack.push_async_callback(errands.close)
        desk = IvrDesk(Activation(store, drivers, settings), store, settings, recorder.event)
        await contained("lengths", desk.learn, counters.count)
        every(stack, _LENGTHS, "lengths", desk.learn, counters.count)
        server = Server(config_of(settings), desk, secrets_of(settings, store), voice(settings), counters.count)
        stack.push_async_callback(server.close)
        await server.start(_sockets(stack, settings, sockets, counters))
        others = await Others.start(stack, settings, sockets, desk, counters)
        every(stack, _RESYNC, "resync", partial(errands.send, server, server.notify), counters.count)
        _through_pbx(stack, settings, store, errands, counters)
        tenure = await stack.enter_async_context(
            Tenure(line, partial(_measure, counters, server, others, Counter()), log.debug)
        )
        await tenure.until_told_to_leave()
        desk.leave()
        await asyncio.gather(server.drain(settings.server_drain), others.drain(settings.server_drain))


class Others:
    """Other people's telephone systems, as far as they are switched on."""

    def __init__(self, agi: FastAgi | None, hooks: Hooks, listener: HookListener | None) -> None:
        self._agi = agi
        self._hooks = hooks
        self._listener = listener

    @classmethod
    async def start(
        cls, stack: AsyncExitStack, settings: Settings, sockets: Listening, desk: IvrDesk, counters: Counters
    ) -> Others:
        """All of them or none; the stack ends them."""
        agi, listener, hooks = None, None, Hooks(*hooks_of(settings, desk, counters.count))
        if (sock := sockets.get(ListenerKind.AGI)) is not None:
            agi = agi_of(settings, desk, counters.count, time.monotonic)
            stack.push_async_callback(agi.close)
            await agi.start(sock=sock)
        if (sock := sockets.get(ListenerKind.HOOKS)) is not None:
            admits = admission(settings.hooks_rate, time.monotonic)
            edge = HookEdge(hooks, settings.hooks_proxies, counters.count, admits=admits)
            listener = HookListener(sock, edge, settings, counters.count)
            stack.push_async_callback(hooks.close)
            stack.push_async_callback(listener.close)
            listener.start()
            every(stack, _CERTIFICATES, "certificates", listener.look, counters.count)
        return cls(agi, hooks, listener)

    @property
    def calls(self) -> int:
        """Under way."""
        return self._hooks.calls + (self._agi.calls if self._agi else 0)

    @property
    def connections(self) -> int:
        """Of those that ask by HTTP."""
        return len(self._listener) if self._listener else 0

    async def drain(self, seconds: float) -> None:
        """Calls under way may go on for so long: what they do next is still heard, and so are those who call anew."""
        end = time.monotonic() + seconds
        while self.calls and time.monotonic() < end:  # noqa: ASYNC110  # a look costs nothing
            await asyncio.sleep(_LOOK)


def _through_pbx(stack: AsyncExitStack, settings: Settings, store: Store, errands: Errands, counters: Counters) -> None:
    """Phones that the PBX holds the registration of are told by it, where its manager interface is known."""
    if ami := ami_of(settings):
        stack.push_async_callback(ami.close)
        pbx = Pbx(store, errands, settings, ami, clock=time.time)
        every(stack, _RESYNC, "resync pbx", pbx.send, counters.count)


def _pace(settings: Settings) -> float:
    """Phones a second that campaigns may tell: of the capacity that the workers have measured, or of a cautious one."""
    cores = Cores.of(settings)
    found, now = measured(cores, totals(RunDirectory(settings.data).metrics)), time.time()
    if found is None or not is_recent(found, now):
        found = estimated(cores, _HANDSHAKE, settings.admission_files, now, "nothing was measured lately")
    return campaign_pace(found.boots, settings.storm_campaign)


def config_of(settings: Settings) -> ServerConfig:
    """The settings as the IVR's own. No nonce outlives its process, whose memory knows which answers were used."""
    names = {settings.server_name, settings.activation_server, settings.ivr_address} - {""}
    core = CoreConfig(
        key=secrets.token_bytes(32),
        users=frozenset({settings.activation_number, "activate"}),
        hosts=frozenset(name.lower() for name in names),
        address=settings.ivr_address,
        trusted=frozenset(settings.ivr_trusted),
        rate=settings.ivr_rate,
        burst=max(1, int(_BURST * settings.ivr_rate)),
        calls=settings.ivr_calls + _SPARE,
        calls_of_source=max(1, settings.ivr_calls // 2),
    )
    return ServerConfig(
        core, settings.ivr_calls, (settings.ivr_rtp_low, settings.ivr_rtp_high), settings.ivr_connections
    )


def secrets_of(settings: Settings, store: Store) -> Callable[[str], Credential | None]:
    """Whose secret a name stands for: worked out, as when the phone was offered it, under each key of the file."""

    def secret_of(user: str) -> Credential | None:
        now, life = time.time(), settings.activation_secret_life
        found = [credential(key, user, now, life) for key in store.box.derived(PURPOSE)]
        held = [(mac, str(secret)) for mac, secret in filter(None, found)]
        return Credential(*held[0], tuple(secret for _, secret in held[1:])) if held else None

    return secret_of


def voice(settings: Settings) -> Voice:
    """The prompts; Unusable names the one that cannot be played."""
    own = Path(settings.ivr_prompts) if settings.ivr_prompts else None
    try:
        return Voice({settings.ivr_language: Prompts(own, settings.ivr_language)})
    except PromptError as error:
        raise Unusable(str(error)) from error


def _sockets(stack: AsyncExitStack, settings: Settings, sockets: Listening, counters: Counters) -> Sockets:
    tls = None
    if (sock := sockets.get(ListenerKind.IVR_TLS)) is not None:
        certificates = [settings.data / name for name in settings.tls_certificates]
        fresh = Certificates(certificates)
        every(stack, _CERTIFICATES, "certificates", fresh.look, counters.count)
        tls = sock, fresh.context
    return Sockets(sockets.get(ListenerKind.IVR), sockets.get(ListenerKind.IVR_TCP), tls)


class Certificates:
    """The server's own certificates in one context, which later connections find renewed."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._loaded = self._stamps()
        try:
            self._load()
        except OSError as error:  # ssl.SSLError is one
            raise Unusable(f"a certificate of tls.certificates cannot be used for SIP: {error}") from error

    def _stamps(self) -> list[int]:
        return [path.stat().st_mtime_ns for path in self._files]

    def _load(self) -> None:
        for path in self._files:
            self.context.load_cert_chain(path)

    async def look(self) -> None:
        """Load what has changed; what cannot be used is told, and the one before serves on."""
        try:
            if (stamps := self._stamps()) != self._loaded:
                self._load()
                self._loaded = stamps
        except OSError as error:
            raise Unusable(f"a new certificate cannot be used for SIP: {error}") from error


def _measure(counters: Counters, server: Server, others: Others, told: Counter[str], _lag: float) -> None:
    """At each beat."""
    counters.gauge("ivr_calls_now", server.calls + others.calls)
    counters.connections(ListenerKind.HOOKS, others.connections)
    counters.gauge("ivr_registrations", server.registrations)
    counters.gauge("ivr_connections", server.connections)
    for reason, number in server.dropped().items():
        if number > told[reason]:
            counters.count("ivr_dropped", reason, number - told[reason])
            told[reason] = number
    counters.flush()
