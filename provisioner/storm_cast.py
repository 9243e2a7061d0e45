"""Who plays in a simulated storm: an account of its own with as many devices as wanted, and a certificate for each.

What an earlier storm has left is used again. Leaves are signed by the demonstration's factories over a few keys:
making two thousand RSA keys would take minutes, and no server looks whether two phones share one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from provisioner.bindings import generated_secret
from provisioner.errors import Invalid, Unusable
from provisioner.fleet.fleet import Fleet
from provisioner.installation import ca_file
from provisioner.model import Device, DeviceState, ListenerKind, Mac, Scope
from provisioner.pki import Factory, make_factory
from provisioner.run_directory import read_addresses
from provisioner.settings import Settings
from provisioner.simulator.storm_plan import StormPhone, places
from provisioner.store.database import Store
from provisioner.store.rows import Extension
from provisioner.store.together import together
from provisioner.vendors import drivers

ACCOUNT: Final = "Storm"
PERSON: Final = "Storm"
SIP_SERVER: Final = "pbx.storm.example"
KEYS: Final = 32
"""Key pairs that all certificates share."""
MOST: Final = 65_536
"""Phones: what the last four digits of their Macs can count."""
_FIRST_NUMBER: Final = 200_000
_TURN: Final = 0.5
"""s that a transaction may take before it is ended: other writers wait for it, and give up after five."""
_GIVE_WAY: Final = 0.15
"""s between two of them: who waits for SQLite's lock looks for it ten times a second."""
_TELL: Final = 250
"""Devices added from one word about it to the next."""
_MODELS: Final = (
    ("poly", "VVX 411", "0004f25d"),
    ("yealink", "T46S", "0015655d"),
    ("poly", "VVX 250", "0004f25e"),
    ("yealink", "T54W", "805ec05d"),
)
"""Vendor, model and the first eight digits of the Macs; phones are these in turn."""
VENDORS: Final = frozenset(vendor for vendor, _, _ in _MODELS)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Extra:
    """One phone before it has a certificate and a place."""

    number: int
    vendor: str
    model: str
    mac: Mac

    @property
    def extension(self) -> str:
        """What is on its first line."""
        return str(_FIRST_NUMBER + self.number)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the storm happens and who is in it."""

    phones: tuple[StormPhone, ...]
    url: str
    address: str
    trust: Path


@dataclass(frozen=True, slots=True)
class _Own:
    """What a phone must find on its line."""

    auth_user: str
    secret: str = field(repr=False)


def vendors_of(count: int) -> frozenset[str]:
    """Whose phones are among the first ``count``."""
    return frozenset(vendor for vendor, _, _ in _MODELS[:count])


def extras(count: int) -> list[Extra]:
    """The first ``count`` phones; always the same ones."""
    _check_count(count)
    chosen = []
    for number in range(count):
        vendor, model, stem = _MODELS[number % len(_MODELS)]
        chosen.append(Extra(number, vendor, model, Mac(f"{stem}{number:04x}")))
    return chosen


def _check_count(count: int) -> None:
    if not 1 <= count <= MOST:
        raise Invalid("phones", f"must be 1 to {MOST}")


@dataclass(frozen=True, slots=True)
class Call:
    """How many are wanted, and where they stand."""

    phones: int
    sites: int
    nat: int
    """Of the phones, how many stand behind the first site's address."""

    def __post_init__(self) -> None:
        """Invalid when there are too many, or when some could stand nowhere."""
        _check_count(self.phones)
        places(self.phones, self.sites, self.nat)


async def prepare(configured: Settings, call: Call, say: Say) -> Stage:
    """Everything that a storm against the running server of this installation takes; Unusable says what is missing."""
    wanted = extras(call.phones)
    stands = places(call.phones, call.sites, call.nat)
    host, port = _server(configured)
    factories = _factories(configured.data, sorted({one.vendor for one in wanted}))
    pins = _burn_in(configured.data, factories, wanted, say)
    own = await _enlist(configured, wanted, pins, say)
    made = [
        StormPhone(
            one.mac,
            one.vendor,
            one.model,
            _leaf_file(configured.data, one),
            _key_file(configured.data, one.number),
            site,
            own[one.mac].auth_user,
            own[one.mac].secret,
        )
        for one, site in zip(wanted, stands, strict=True)
    ]
    return Stage(tuple(made), f"https://{configured.server_name}:{port}/", host, ca_file(configured.data))


def _server(configured: Settings) -> tuple[str, int]:
    """The address of the device edge; sources in 127.0.0.0/8 reach nothing but IPv4's loopback."""
    addresses = read_addresses(configured.data)
    if ListenerKind.DEVICE not in addresses:
        raise Unusable(
            f"no server runs on {configured.data}: start one in another terminal (`make run`, or "
            f"`provisioner demo --data {configured.data}`) and leave it running"
        )
    host, port = addresses[ListenerKind.DEVICE]
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)  # noqa: S104  # read, not bound
    if not host.startswith("127."):
        raise Unusable(
            f"the server listens on {host} only, and simulated sites have addresses in 127.0.0.0/8: "
            "set server.host to 127.0.0.1 or 0.0.0.0 for the storm"
        )
    return host, port


def _factories(data: Path, names: Sequence[str]) -> Mapping[str, Factory]:
    for vendor in names:
        if not (data / "demo" / vendor / "cas.pem").is_file():
            raise Unusable(
                f"{data} has no demo factory for {vendor}, so nobody can sign the phones' certificates: "
                f"`make run` or `provisioner demo --data {data}` makes and trusts one"
            )
    return {vendor: make_factory(vendor, data / "demo" / vendor) for vendor in names}


# --- certificates ---------------------------------------------------------------------------------------


def _directory(data: Path) -> Path:
    return data / "demo" / "storm"


def _key_file(data: Path, number: int) -> Path:
    return _directory(data) / f"key-{number % KEYS:02}.pem"


def _leaf_file(data: Path, one: Extra) -> Path:
    return _directory(data) / f"{one.mac}.pem"


def _burn_in(data: Path, factories: Mapping[str, Factory], wanted: Sequence[Extra], say: Say) -> Sequence[str]:
    """Sign what is not there yet; the fingerprint that is pinned of each key. Broken off, it goes on next time."""
    _directory(data).mkdir(mode=0o700, exist_ok=True)
    keys = [_key(data, number) for number in range(KEYS)]
    missing = [one for one in wanted if not _leaf_file(data, one).is_file()]
    if missing:
        say(f"signing {len(missing)} certificates ...")
    for one in missing:
        leaf, _, chain = factories[one.vendor].leaf(one.mac, key=keys[one.number % KEYS])
        _write(_leaf_file(data, one), leaf + chain)
    return [_fingerprint(key) for key in keys]


def _key(data: Path, number: int) -> rsa.RSAPrivateKey:
    path = _key_file(data, number)
    if not path.is_file():
        _forget_leaves(data, number)
        made = rsa.generate_private_key(65537, 2048)
        _write(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    # Proving 32 of our own keys prime again would take longer than all the signing.
    key = load_pem_private_key(path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Unusable(f"{path} is no RSA key: remove {path.parent}, it is made anew")
    return key


def _forget_leaves(data: Path, number: int) -> None:
    """Every certificate of a key that is lost, whoever is wanted this time."""
    for _, _, stem in _MODELS:
        for path in _directory(data).glob(f"{stem}????.pem"):
            if int(path.stem.removeprefix(stem), 16) % KEYS == number:
                path.unlink()


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing: somebody may lose patience meanwhile."""
    partial = path.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_bytes(content)
    partial.replace(path)


def _fingerprint(key: rsa.RSAPrivateKey) -> str:
    return hashlib.sha256(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


# --- the administrator's part ---------------------------------------------------------------------------


def _secrets_file(data: Path) -> Path:
    return _directory(data) / "secrets.json"


def _known_secrets(data: Path) -> dict[str, str]:
    """SIP passwords by Mac, as an earlier storm has set them: reading each from the store would be an event each."""
    try:
        found = json.loads(_secrets_file(data).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


async def _enlist(configured: Settings, wanted: Sequence[Extra], pins: Sequence[str], say: Say) -> Mapping[Mac, _Own]:
    """Account, devices, extensions and bindings, by the use-cases an administrator has; who each must register as."""
    passwords = _known_secrets(configured.data)
    known = {one.manifest.name: one for one in drivers(configured.data / "templates")}
    async with Store.of(configured) as store:
        fleet = Fleet(store, known, actor="storm")
        account = await _account(fleet)
        devices = {one.mac: one for one in await fleet.devices(account=account, limit=MOST + 1)}
        extensions = {one.number: one for one in await fleet.extensions(account)}
        lacking = [
            one for one in wanted if one.mac not in passwords or _lacks(one, devices.get(one.mac), extensions, pins)
        ]
        if lacking:
            say(f"adding {len(lacking)} phones to account {ACCOUNT} ...")
        done = 0
        while done < len(lacking):
            before = done
            async with together(store, "storm", time.time()) as transaction:
                desk, end = Fleet(transaction, known, actor="storm"), time.monotonic() + _TURN
                while done == before or (done < len(lacking) and time.monotonic() < end):
                    one = lacking[done]
                    await _add(desk, account, one, devices.get(one.mac), pins)
                    await _credit(desk, account, one, extensions, passwords)
                    await _connect(desk, one, devices.get(one.mac))
                    done += 1
            _write(_secrets_file(configured.data), json.dumps(passwords).encode())
            await _give_way(before, done, len(lacking), say)
        told = {one.number: one.auth_user for one in await fleet.extensions(account)}
    return {one.mac: _Own(told[one.extension], passwords[one.mac]) for one in wanted}


async def _give_way(before: int, done: int, all_of_them: int, say: Say) -> None:
    """Between two transactions: whoever else has something to write comes first."""
    if done // _TELL > before // _TELL:
        say(f"  {done} of {all_of_them} added")
    if done < all_of_them:
        await asyncio.sleep(_GIVE_WAY)


async def _account(fleet: Fleet) -> str:
    for one in await fleet.accounts():
        if one.name == ACCOUNT:
            return one.id
    account = (await fleet.add_account(ACCOUNT)).id
    await fleet.set_layer(Scope.ACCOUNT, account, {"sip.server": SIP_SERVER, "sip.transport": "tls"}, {})
    await fleet.add_user(PERSON, account=account)
    return account


def _lacks(one: Extra, device: Device | None, extensions: Mapping[str, Extension], pins: Sequence[str]) -> bool:
    if device is None or device.state is not DeviceState.ASSIGNED or one.extension not in extensions:
        return True
    return _outdated(one, device, pins)


def _outdated(one: Extra, device: Device, pins: Sequence[str]) -> bool:
    """Whether a key is pinned that an earlier storm's certificate had."""
    return device.pinned not in ("", pins[one.number % KEYS])


async def _add(
    fleet: Fleet,
    account: str,
    one: Extra,
    device: Device | None,
    pins: Sequence[str],
) -> None:
    """The device, and whatever keeps its certificate from counting."""
    if device is None:
        await fleet.add_device(one.mac, vendor=one.vendor, model=one.model, account=account)
    elif device.state is DeviceState.REVOKED:
        await fleet.restore_device(one.mac)
    if device is not None and _outdated(one, device, pins):
        await fleet.forget_pin(one.mac)


async def _credit(
    fleet: Fleet, account: str, one: Extra, extensions: Mapping[str, Extension], passwords: dict[str, str]
) -> None:
    """The extension with a password that the simulator knows, so that it sees another phone's."""
    known = one.mac in passwords
    secret = passwords.setdefault(one.mac, generated_secret())
    if one.extension not in extensions:
        name = f"Storm {one.number}"
        await fleet.add_extension(one.extension, account=account, user=PERSON, display_name=name, secret=secret)
    elif not known:
        await fleet.set_secret(one.extension, account=account, secret=secret)


async def _connect(fleet: Fleet, one: Extra, device: Device | None) -> None:
    """The extension on the first line."""
    if device is None or not await fleet.bindings(one.mac, active=True):
        await fleet.bind(one.mac, 1, extension=one.extension)
