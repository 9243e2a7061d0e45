"""Which adapters are on, by the settings: each has its secret and knows whom to believe, or no server is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from ivr.adapters import (
    Attempts,
    AttemptsSettings,
    FastAgi,
    FastAgiSettings,
    Hook,
    Httapi,
    HttapiSettings,
    Recordings,
    SharedSecret,
    TelnyxSignature,
    TwilioSignature,
    Twiml,
    TwimlSettings,
)
from ivr.desk import Desk
from ivr.sip.limits import source_of
from provisioner.contradictions_pbx import BY_URL
from provisioner.errors import Unusable
from provisioner.gcra import Gcra
from provisioner.model import Count
from provisioner.secret_files import secret_text
from provisioner.settings import Settings

_SOURCES: Final = 10_000
"""Addresses whose rate is remembered."""
_BURST: Final = 3
"""s of a rate that may come at once."""
_RECORDINGS: Final = "/activation/recordings"

Plan = Callable[[Desk, Count], Hook]
"""A hook of which everything but the product is known, and is right."""


def require_adapters(settings: Settings) -> None:
    """Unusable when one that is on could not serve: the server is not started then."""
    if settings.agi_port >= 0:
        _agi(settings)
    _plans(settings)


def agi_of(settings: Settings, desk: Desk, count: Count, clock: Callable[[], float]) -> FastAgi:
    """The server that Asterisk connects to."""
    return FastAgi(desk, _agi(settings), count=count, admits=admission(settings.agi_rate, clock))


def hooks_of(settings: Settings, desk: Desk, count: Count) -> tuple[Hook, ...]:
    """Of the systems in ``hooks.on``, and the recordings where one of them fetches those from us."""
    return tuple(plan(desk, count) for plan in _plans(settings))


def admission(rate: float, clock: Callable[[], float]) -> Callable[[str], bool]:
    """Whether an address, of IPv6 a /64, comes no more often than that; to be asked about is to come."""
    shares = Gcra(rate, max(1.0, _BURST * rate), _SOURCES)
    return lambda source: not shares.take(source_of(source), clock())


def _agi(settings: Settings) -> FastAgiSettings:
    try:
        return FastAgiSettings(
            peers=settings.agi_peers,
            vouched=settings.agi_vouched,
            calls=settings.agi_calls,
            folder=settings.agi_folder,
            header=settings.agi_header,
        )
    except ValueError as error:
        raise Unusable(
            f"agi.folder = {settings.agi_folder!r}, agi.header = {settings.agi_header!r}: {error}"
        ) from error


def _plans(settings: Settings) -> tuple[Plan, ...]:
    plans = tuple(_planned(settings, name) for name in settings.hooks_on)
    return (*plans, _recordings(settings)) if _fetched(settings) else plans


def _planned(settings: Settings, name: str) -> Plan:
    """Unusable names the setting and its file, and says nothing of what is in it."""
    path = settings.data / str(getattr(settings, f"hooks_{name}"))
    advice = (
        f". hooks.on has {name}, and without its secret anybody could ask: make the file, or take it out of hooks.on"
    )
    secret = secret_text(path, f"hooks.{name}", advice)
    try:
        return _PLANS[name](settings, secret.strip())
    except ValueError as error:
        raise Unusable(f"{path} (hooks.{name}): {error}") from None


def _twilio(settings: Settings, secret: str) -> Plan:
    """Of a SIP domain it says whose credentials a call came with, and from where; it signs both."""
    user = "SipUsername" if "twilio" in settings.hooks_vouched else ""
    chosen = replace(_twiml(settings, "twilio"), user_field=user, source_field="SipSourceIp")
    signature = TwilioSignature(secret, chosen.public_url)
    return lambda desk, count: Twiml(desk, signature, chosen, name="twilio", count=count)


def _telnyx(settings: Settings, secret: str) -> Plan:
    chosen = _twiml(settings, "telnyx")
    signature = TelnyxSignature(secret)
    return lambda desk, count: Twiml(desk, signature, chosen, name="telnyx", count=count)


def _kazoo(settings: Settings, secret: str) -> Plan:
    """With the secret in its address; Kazoo prefers GET."""
    signature, chosen = SharedSecret(secret), _twiml(settings, "kazoo", secret)
    return lambda desk, count: Twiml(desk, signature, chosen, name="kazoo", count=count)


def _twiml(settings: Settings, name: str, secret: str = "") -> TwimlSettings:
    path, base = f"/activation/{name}", settings.hooks_url.rstrip("/")
    return TwimlSettings(
        public_url=f"{base}{path}/{secret}".rstrip("/"),
        recordings="" if settings.hooks_voice else f"{base}{_RECORDINGS}",
        path=path,
        language=settings.ivr_language,
        voice_language=settings.hooks_voice,
        own_prompts=_own(settings),
        get=bool(secret),
        calls=settings.hooks_calls,
    )


def _httapi(settings: Settings, secret: str) -> Plan:
    SharedSecret(secret)  # refused here when it is weak
    chosen = HttapiSettings(
        recordings=settings.hooks_httapi_sounds or f"{settings.hooks_url.rstrip('/')}{_RECORDINGS}",
        secret=secret,
        peers=settings.hooks_httapi_peers,
        language=settings.ivr_language,
        users_proven="httapi" in settings.hooks_vouched,
        calls=settings.hooks_calls,
    )
    return lambda desk, count: Httapi(desk, chosen, count=count)


def _rest(settings: Settings, secret: str) -> Plan:
    chosen = AttemptsSettings(tuple(secret.split()), vouched="rest" in settings.hooks_vouched)
    return lambda desk, count: Attempts(desk, chosen, count=count)


_PLANS: Final[Mapping[str, Callable[[Settings, str], Plan]]] = {
    "twilio": _twilio,
    "telnyx": _telnyx,
    "kazoo": _kazoo,
    "httapi": _httapi,
    "rest": _rest,
}


def _fetched(settings: Settings) -> bool:
    """Whether one of them plays recordings that it gets from us."""
    if "httapi" in settings.hooks_on and not settings.hooks_httapi_sounds:
        return True
    return not settings.hooks_voice and not BY_URL.isdisjoint(settings.hooks_on)


def _recordings(settings: Settings) -> Plan:
    return lambda _desk, _count: Recordings(_own(settings), _RECORDINGS)


def _own(settings: Settings) -> Path | None:
    return Path(settings.ivr_prompts) if settings.ivr_prompts else None
