"""What every driver owes the server, over every driver, model and file; a driver that does nothing fails it.

Files are read here by parsers of this test's own, so that a mistake in a driver's grammar is not believed.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.errors import NoSuchFile
from provisioner.layers import merge, resolve
from provisioner.model import ConfigLayer, DeviceFile, FileKind, Line, Mac, Model, PeerCert, ResolvedConfig, Scope
from provisioner.neutral import SETTINGS, parse_value
from provisioner.rendering import Templates
from provisioner.vendor import Manifest, VendorDriver
from provisioner.vendors import drivers

DRIVERS = drivers()
BASE = "https://prov.example.net:8443/"
MOST_LINES = 20
ADMIN, USER, DOT1X = "Adm1n-Canary-77", "Us3r-Canary-88", "Dot1x-Canary-99"
VALUES: dict[str, object] = {
    "sip.server": "sip1.example.net",
    "sip.backup": "sip2.example.net",
    "sip.outbound_proxy": "sbc.example.net",
    "voicemail.number": "*97",
    "time.zone": "America/New_York",
    "password.admin": ADMIN,
    "password.user": USER,
    "net.vlan": 20,
    "net.dot1x.mode": "md5",
    "net.dot1x.identity": "phones",
    "net.dot1x.password": DOT1X,
    "syslog.server": "198.51.100.9",
    "dialplan.rules": [{"match": "0x.T", "prefix": "9"}, {"match": "[2-4]xx"}],
    "hotline.number": "9000",
    "phonebook.url": "https://book.example.net/all.xml",
    "log.upload": True,
    "keys": [{"position": 1, "kind": "line"}, {"position": 2, "kind": "blf", "value": "2002", "label": "Ann & Bob"}],
}
MODELS = [(driver, model) for driver in DRIVERS for model in driver.manifest.models.values()]
EACH_MODEL = pytest.mark.parametrize(
    ("driver", "model"), MODELS, ids=[f"{driver.manifest.name}-{model.name}" for driver, model in MODELS]
)


def mac_of(driver: VendorDriver) -> Mac:
    return Mac(min(driver.manifest.ouis) + "aabbcc")


def lines_of(model: Model) -> list[Line]:
    return [
        Line(number, f"20{number:02d}", f"auth-canary-{number:02d}x", f"Sip-Canary-{number:02d}x", f"Person {number}")
        for number in range(1, min(model.lines, MOST_LINES) + 1)
    ]


def config_of(driver: VendorDriver, model: Model, **changes: object) -> ResolvedConfig:
    lines = lines_of(model) if changes.get("bound", True) else []
    layer = ConfigLayer(Scope.DEFAULTS, "", {name: parse_value(name, value) for name, value in VALUES.items()})
    upgrade = bool(changes.get("upgrade_only", False))
    return resolve(mac_of(driver), model, lines, merge([layer]), upgrade_only=upgrade, base_url=BASE)


def names_of(driver: VendorDriver, model: Model) -> Iterator[str]:
    mac = mac_of(driver)
    words = {"mac": mac, "MAC": mac.upper(), "code": model.code, "part": model.part_number}
    for name in driver.manifest.files[model.dialect]:
        if all(value or "{" + word not in name for word, value in words.items()):
            yield name.format_map(words)


def files_of(driver: VendorDriver, model: Model) -> Iterator[DeviceFile]:
    for name in names_of(driver, model):
        file = driver.match(name, "")
        assert file is not None, f"{name} stands in the manifest but match() does not know it"
        yield file


def rendered(driver: VendorDriver, model: Model, config: ResolvedConfig) -> dict[str, tuple[DeviceFile, bytes]]:
    found = {}
    for file in files_of(driver, model):
        if file.upload:
            continue
        try:
            found[file.name] = (file, driver.render(file, config))
        except NoSuchFile:
            continue  # 404 is some names' normal answer; what must be there is checked by its content
    return found


def values_in(body: bytes) -> list[str]:
    """Every value of a file: XML attributes and texts, or the right sides of lines."""
    text = body.decode("utf-8")
    if text.lstrip().startswith("<"):
        elements = list(ElementTree.fromstring(text).iter())
        return [value for one in elements for value in (*one.attrib.values(), one.text or "")]
    found = []
    for line in text.splitlines():
        if line.startswith("#") or not line.strip() or line.startswith("include:config "):
            continue
        name, equals, value = line.partition(" = ")
        assert equals and re.fullmatch(r"[A-Za-z0-9_.-]+", name), f"no parameter: {line[:60]!r}"
        found.append(value)
    return found


def faults(driver: VendorDriver, model: Model) -> list[str]:
    """Everything in which a driver fails this model; empty when it conforms."""
    config = config_of(driver, model)
    files = rendered(driver, model, config)
    found = [f"{name} is empty" for name, (_, body) in files.items() if not body.strip()]
    values = [value for _, body in files.values() for value in values_in(body or b"<empty/>")]
    for line in config.lines:
        found += [f"secret of line {line.number} stands {n} times" for n in [values.count(line.secret)] if n != 1]
        found += [f"auth user of line {line.number} stands {n} times" for n in [values.count(line.auth_user)] if n < 1]
    if not any("sip1.example.net" in value for value in values):
        found.append("the SIP server is missing")
    if not any(BASE.rstrip("/") in value for value in values):
        found.append("the provisioning URL is missing")
    canaries = [ADMIN, USER, DOT1X, *(line.secret for line in config.lines)]
    for file, body in files.values():
        if not file.secret:
            found += [f"{file.name} is public and holds a secret" for canary in canaries if canary.encode() in body]
    for _, body in rendered(driver, model, config_of(driver, model, upgrade_only=True)).values():
        found += ["the upgrade-only configuration holds a secret" for one in canaries if one.encode() in body]
        found += [
            "the upgrade-only configuration holds a line" for one in config.lines if one.auth_user.encode() in body
        ]
    return found


@EACH_MODEL
def test_the_files_carry_what_they_must_and_nothing_else(driver: VendorDriver, model: Model) -> None:
    assert faults(driver, model) == []


@EACH_MODEL
def test_an_unassigned_device_gets_files_without_lines(driver: VendorDriver, model: Model) -> None:
    files = rendered(driver, model, config_of(driver, model, bound=False))
    assert files
    for file, body in files.values():
        values_in(body)
        assert b"canary-01x" not in body.lower(), file.name


@EACH_MODEL
def test_the_model_s_facts_are_sane(driver: VendorDriver, model: Model) -> None:
    assert model.lines > 0
    assert model.dialect in driver.manifest.files
    for name in model.refuses:  # line.<setting>: the phone has it, but one for all lines
        assert SETTINGS[name.removeprefix("line.")].per_line or not name.startswith("line.")
    assert all(len(why) > 10 for why in model.refuses.values())
    assert model.code == "" or model.code.isdecimal()
    for reboot in (True, False):
        assert re.fullmatch(r"[A-Za-z-]+(;[a-z]+=[a-z]+)?", driver.resync_event(model, reboot))


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda one: one.manifest.name)
def test_names_are_matched_in_any_case_and_carry_their_mac(driver: VendorDriver) -> None:
    for model in driver.manifest.models.values():
        for file in files_of(driver, model):
            assert file.vendor == driver.manifest.name
            assert file.mac in {None, mac_of(driver)}
            again = driver.match(file.name.upper().replace(".CFG", ".cfg"), "")
            assert again is None or (again.kind, again.mac) == (file.kind, file.mac)
            assert file.mac is None or again is not None, f"{file.name} in capitals"
            assert not (file.upload and not file.secret), f"{file.name}: what a device sent is nobody else's"


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda one: one.manifest.name)
def test_foreign_names_are_nobody_s(driver: VendorDriver) -> None:
    for name in (
        "",
        "index.html",
        "favicon.ico",
        "../secret",
        "a" * 4000,
        "0004f2aabbcc",
        "cfg001122334455",
        "x_Security.enc",
    ):
        assert driver.match(name, "") is None, name


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda one: one.manifest.name)
@pytest.mark.parametrize("leaf", [b"", b"junk", b"\x30\x03\x02\x01\x00"])
def test_a_leaf_that_is_none_names_nobody(driver: VendorDriver, leaf: bytes) -> None:
    assert driver.identify(PeerCert(leaf)).mac is None


def digest() -> str:
    """One hash over every file of every model."""
    everything = hashlib.sha256()
    for driver in drivers():
        for model in driver.manifest.models.values():
            for name, (_, body) in rendered(driver, model, config_of(driver, model)).items():
                everything.update(name.encode() + b"\0" + body)
    return everything.hexdigest()


def test_every_process_gives_the_same_bytes() -> None:
    code = "import test_conformance; print(test_conformance.digest())"
    seen = {digest()}
    for seed in ("1", "4711"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TZ": "Asia/Tokyo",
        }
        run = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        seen.add(run.stdout.strip())
    assert len(seen) == 1


class Idle:
    """A driver that has names and models but whose files say nothing, or are never there, or are all the same."""

    def __init__(self, real: VendorDriver, body: bytes | None) -> None:
        self._real, self._body = real, body

    @property
    def manifest(self) -> Manifest:
        return self._real.manifest

    def identify(self, cert: PeerCert) -> object:
        return self._real.identify(cert)

    def match(self, path: str, user_agent: str) -> DeviceFile | None:
        return self._real.match(path, user_agent)

    def render(self, file: DeviceFile, config: ResolvedConfig) -> bytes:  # noqa: ARG002  # the contract's signature
        if self._body is None:
            raise NoSuchFile("nothing")
        return self._body


@EACH_MODEL
@pytest.mark.parametrize("body", [None, b"", b"<x/>", b"#!version:1.0.0.1\n"], ids=["404", "empty", "xml", "header"])
def test_doing_nothing_is_not_enough(driver: VendorDriver, model: Model, body: bytes | None) -> None:
    assert faults(Idle(driver, body), model)


class Leaky(Idle):
    """A driver whose public files hold what its device file holds."""

    def render(self, file: DeviceFile, config: ResolvedConfig) -> bytes:  # noqa: ARG002  # the contract's signature
        device = next(one for one in files_of(self._real, config.model) if one.kind is FileKind.DEVICE)
        return self._real.render(device, config)


def test_a_secret_in_a_public_file_is_found() -> None:
    driver = next(one for one in DRIVERS if one.manifest.name == "yealink")
    assert any("is public" in one for one in faults(Leaky(driver, None), driver.manifest.models["T46U"]))


def test_the_templates_are_not_optional(tmp_path: Path) -> None:
    """A broken template is an error of that one file, never an empty answer."""
    for driver in DRIVERS:
        bare = type(driver)(Templates([tmp_path]))
        model = next(iter(bare.manifest.models.values()))
        failed = []
        for file in files_of(bare, model):
            try:
                bare.render(file, config_of(bare, model))
            except Exception as error:  # noqa: BLE001  # its kind is what is tested
                failed.append(getattr(error, "kind", type(error).__name__))
        assert "render_failed" in failed and set(failed) <= {"render_failed", "no_such_file"}
