"""A house that other people's telephone systems talk to, and the scenario table made of real codes and real phones."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import ClientSession, TCPConnector
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from house import House, administer

from ivr.flow import ResultKind
from provisioner import settings as provisioner_settings
from provisioner.activation.activation import Activation
from provisioner.activation.codes import Codes
from provisioner.activation_verdict import Attempt
from provisioner.codes import generate
from provisioner.model import Mac, Scope
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.vendors import drivers
from tests.ivr.adapters.asterisk import VARIABLES, Asterisk
from tests.ivr.adapters.person import Person
from tests.ivr.adapters.web import SECRET, TOKEN, FreeSwitch, Twilio, Web
from tests.ivr.scenarios import GOOD, MISTYPED, OLD, OTHER, SCENARIOS, Scenario, Turn

URL = "https://prov.example.com"
REST = "/api/v1/activation/attempts"
REST_TOKEN = "one-token-of-some-length"
KNOWN = {"Authorization": f"Bearer {REST_TOKEN}", "Content-Type": "application/json"}
KEY = Ed25519PrivateKey.generate()
LOOPBACK = "127.0.0.1/32"
SYSTEMS = ("asterisk", "twilio", "telnyx", "kazoo", "freeswitch")
_PRODUCED = {
    ResultKind.ACCEPTED,
    ResultKind.WRONG,
    ResultKind.EXPIRED,
    ResultKind.USED,
    ResultKind.WRONG_MODEL,
}
_READ = ("digit_2", "digit_0", "digit_4")
_SPECIFIC = {"expired", "used", "wrong_model"}
_numbers = itertools.count(3000)
_macs = itertools.count(0x1000)


def adapted(**environment: object) -> dict[str, object]:
    """All adapters on and no SIP; wrong codes are limited for each phone only, as all come from one address."""
    many = {f"activation_tries_{whose}": 9000 for whose in ("source", "network", "account", "unproven")}
    return {
        "store_poll": 0.05,
        "store_flush": 0.1,
        "server_drain": 3,
        "agi_port": 0,
        "agi_peers": LOOPBACK,
        "agi_vouched": LOOPBACK,
        "hooks_port": 0,
        "hooks_on": "twilio,telnyx,kazoo,httapi,rest",
        "hooks_vouched": "twilio,httapi,rest",
        "hooks_url": URL,
        "hooks_httapi_peers": LOOPBACK,
        "hooks_rate": 5000,
        "activation_tries_total": 9999,
        **many,
        **environment,
    }


def build(directory: Path, **environment: object) -> House:
    """A house with secrets and one account; ``copy`` it with ``adapted`` for another."""
    house = House.build(directory, **adapted(**environment))
    for name, secret in secrets_of_systems().items():
        (house.data / name).write_text(secret + "\n")
        (house.data / name).chmod(0o600)

    async def fill(fleet):
        account = (await fleet.add_account("Acme")).id
        await fleet.set_layer(Scope.ACCOUNT, account, {"activation": True, "sip.server": "pbx.example.net"})

    administer(house, fill)
    return house


def secrets_of_systems() -> dict[str, str]:
    """By the files' default names."""
    public = base64.b64encode(KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    return {
        "twilio.token": TOKEN,
        "telnyx.key": public,
        "kazoo.secret": SECRET,
        "httapi.secret": SECRET,
        "rest.tokens": f"another-systems-token\n{REST_TOKEN}",
    }


# --- phones and codes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """An extension's code."""

    number: str
    code: str


class Registry:
    """The administrator's side of a house, within one open store."""

    def __init__(self, house: House, fleet, store: Store, configured: Settings, account: str) -> None:
        self._known = {one.manifest.name: one for one in drivers(house.data / "templates")}
        self._fleet, self._store, self._configured, self._account = fleet, store, configured, account

    async def phone(self, vendor: str = "yealink", model: str = "T46S", oui: str = "001565") -> str:
        """One that was added and has no line."""
        mac = Mac(f"{oui}{next(_macs):06x}")
        await self._fleet.add_device(mac, vendor=vendor, model=model, account=self._account)
        return mac

    async def code(self, *, digits: int = 12, ago: float = 0.0, **ties: str) -> Made:
        """For a fresh person's extension; ``ago`` is when it was issued, in seconds."""
        number = str(next(_numbers))
        user = await self._fleet.add_user(f"Person {number}", account=self._account)
        await self._fleet.add_extension(
            number, account=self._account, user=user.id, display_name=number, secret="canary-Secret-Zq7!"
        )
        chosen = replace(self._configured, activation_digits=digits)
        desk = Codes(self._store, self._known, chosen, clock=lambda: time.time() - ago)
        return Made(number, (await desk.issue(number, account=self._account, **ties)).code)

    async def use_up(self, made: Made) -> None:
        """By another phone."""
        entry = Attempt(Mac(await self.phone()), "yealink", "T46S", made.code, "192.0.2.9", True, "test", 1)
        desk = Activation(self._store, self._known, self._configured)
        assert (await desk.redeem(entry)).extension == made.number

    async def for_answer(self, kind: ResultKind, digits: int) -> Made:
        """A code that is answered so."""
        match kind:
            case ResultKind.WRONG:
                return Made("", generate(secrets.token_bytes, digits))
            case ResultKind.EXPIRED:
                return await self.code(digits=digits, ago=30 * 86_400)
            case ResultKind.WRONG_MODEL:
                return await self.code(digits=digits, model="VVX 411")
            case _:
                made = await self.code(digits=digits)
                if kind is ResultKind.USED:
                    await self.use_up(made)
                return made


def register(house: House, action):
    """Run with a Registry."""

    async def run(fleet):
        configured = provisioner_settings.load(house.data)
        account = (await fleet.accounts())[0].id
        async with Store.of(configured) as store:
            return await action(Registry(house, fleet, store, configured, account))

    return administer(house, run)


# --- scenarios ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lived:
    """A scenario with real digits, and what is to come of it."""

    scenario: Scenario
    mac: str
    bound: bool
    codes: tuple[str, ...]

    @property
    def causes(self) -> list[str]:
        """The use-case itself tells callers without proof nothing of a code."""
        known = self.scenario.authenticated
        return [cause if known or cause not in _SPECIFIC else "wrong" for cause in self.scenario.causes]


def livable(*, confirming: bool) -> list[Scenario]:
    """Those of the table whose answers a real store gives; lines that are busy and faults are no matter of codes."""
    return [
        one
        for one in SCENARIOS
        if one.settings.confirm_extension is confirming
        and (one.refusal is None or one.refusal.kind is ResultKind.UNSUPPORTED)
        and {answer.kind for answer in one.answers} <= _PRODUCED
        # An extension has a number here; a race is not one call.
        and one.name not in ("an extension that is no number is not read", "another phone was quicker to confirm")
    ]


async def lived(registry: Registry, scenario: Scenario) -> Lived:
    """Phones, people and codes for it."""
    kinds = {
        one.code: answer.kind for one, answer in reversed(list(zip(scenario.asked, scenario.answers, strict=True)))
    }
    made = {literal: await registry.for_answer(kind, len(literal)) for literal, kind in kinds.items()}
    typo = generate(secrets.token_bytes)
    made[MISTYPED] = Made("", typo[:-1] + str((int(typo[-1]) + 1) % 10))
    old = ("poly", "SoundPoint IP 450", "0004f2")
    mac = await (registry.phone(*old) if scenario.refusal else registry.phone())
    bound = bool(scenario.answers) and scenario.causes[-1] == "accepted"
    return Lived(
        replace(scenario, turns=tuple(_turns(scenario, made))), mac, bound, tuple(m.code for m in made.values())
    )


def _turns(scenario: Scenario, made: Mapping[str, Made]) -> list[Turn]:
    number, turns = "", []
    for turn in scenario.turns:
        hears = ",".join(turn.hears).replace(",".join(_READ), ",".join(f"digit_{digit}" for digit in number))
        keys = turn.keys
        for literal in (GOOD, OTHER, MISTYPED, OLD):
            if literal in keys:
                number = made[literal].number
                keys = keys.replace(literal, made[literal].code)
        turns.append(replace(turn, hears=tuple(hears.split(",")), keys=keys))
    return turns


# --- the other side -------------------------------------------------------------------------------------------


class Telnyx(Twilio):
    """Signs what it sends; ``late`` s ago, each request a second after the one before, as people are no quicker."""

    late = 0.0
    sent = 0

    def proof(self, suffix: str, form: Mapping[str, str]) -> dict[str, str]:
        """The address is not covered."""
        del suffix
        stamp = f"{time.time() - self.late + self.sent:.0f}"
        self.sent += 1
        signature = base64.b64encode(KEY.sign(f"{stamp}|{urlencode(form)}".encode())).decode()
        return {"telnyx-timestamp": stamp, "telnyx-signature-ed25519": signature}


@asynccontextmanager
async def asking(house: House) -> AsyncIterator[Web]:
    """A client of the web hooks."""
    async with ClientSession(connector=TCPConnector(ssl=house.context())) as session:
        yield Web(session, f"https://localhost:{house.ports['hooks']}")


async def act(house: House, web: Web, system: str, one: Lived) -> bool:
    """Act a call out; whether the server had ended it before the caller did."""
    person, proven = Person(one.scenario), one.scenario.authenticated
    call = f"CA{one.mac}"
    if system == "asterisk":
        asterisk = Asterisk(person, variables=channel(one.mac, proven=proven))
        await asterisk.call(house.ports["agi"])
        over = one.scenario.ends is not None
    elif system == "freeswitch":
        phone = {"mac": one.mac, "source": "192.0.2.7"} | ({"auth": one.mac} if proven else {})
        freeswitch = FreeSwitch(web, person, call, phone=phone)
        await freeswitch.call()
        over = freeswitch.hung_up
    else:
        made = twiml(web, person, system, one.mac, proven=proven)
        await made.call()
        over = made.hung_up
    assert person.content
    return over


def twiml(web: Web, person: Person, system: str, mac: str, *, proven: bool = True) -> Twilio:
    """A Twilio, Telnyx or Kazoo with a call of this phone; only the first can prove whose it is."""
    caller = {"From": f"sip:{mac}@example.com"}
    if system == "twilio" and proven:
        caller = {"From": "sip:anybody@example.com", "SipUsername": mac, "SipSourceIp": "192.0.2.7"}
    elif not proven:
        caller = {"From": "+44171", "SipHeader_X-MAC-Address": mac}
    address = f"{URL}/activation/{system}"
    if system == "kazoo":
        return Twilio(web, person, f"CA{mac}", get=True, public=f"{address}/{SECRET}", caller=caller)
    kind = Telnyx if system == "telnyx" else Twilio
    return kind(web, person, f"CA{mac}", public=address, caller=caller)


def channel(mac: str, *, proven: bool = True) -> dict[str, str]:
    """What an Asterisk knows of a call."""
    told = {name: re.sub("0004f2aabbcc", mac, value) for name, value in VARIABLES.items() if "PJSIP_HEADER" not in name}
    return {name: value for name, value in told.items() if proven or "auth" not in name}


def prompts(house: House, macs: list[str], wanted: Mapping[str, int], seconds: float = 10.0) -> dict[str, list[str]]:
    """The causes in the event log, by phone, once there are as many as wanted."""

    async def read(fleet) -> dict[str, list[str]]:
        found = {mac: await fleet.events(kind="ivr_prompt", mac=mac) for mac in macs}
        return {mac: [one.details["cause"] for one in events] for mac, events in found.items()}

    async def waited(fleet) -> dict[str, list[str]]:
        end = time.monotonic() + seconds
        while True:
            told = await read(fleet)
            if all(len(told[mac]) >= wanted[mac] for mac in macs) or time.monotonic() > end:
                return told
            await asyncio.sleep(0.05)

    return administer(house, waited)


def bound(house: House, macs: list[str]) -> set[str]:
    """Those of the phones that have a line."""

    async def read(fleet) -> set[str]:
        return {mac for mac in macs if await fleet.bindings(Mac(mac), active=True)}

    return administer(house, read)


async def tried(web: Web, mac: str, code: str, **more: str) -> tuple[int, dict[str, Any]]:
    body = {"code": code, "device": {"mac": mac}, "channel": "lobby", "source_ip": "192.0.2.7", **more}
    answer, content = await web.send("POST", REST, json.dumps(body).encode(), KNOWN)
    return answer.status, json.loads(content)


def one_phone(house: House) -> tuple[str, str, str]:
    """Mac, number and code."""

    async def make(registry: Registry) -> tuple[str, str, str]:
        made = await registry.code()
        return await registry.phone(), made.number, made.code

    mac, number, code = register(house, make)
    return mac, number, code
