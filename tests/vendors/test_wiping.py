"""What a device fetches when it is to forget: lines emptied by name, or everything put back; for every model there is.

The device's memory is kept by the simulated phone's own reading, or by this test's: what a file leaves out stays there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from test_conformance import ADMIN, BASE, DOT1X, EACH_MODEL, USER, config_of, files_of, lines_of, mac_of

from provisioner.layers import merge, resolve
from provisioner.model import ConfigLayer, Line, Model, ResolvedConfig, Scope
from provisioner.neutral import parse_value
from provisioner.simulator import yealink as phone
from provisioner.vendor import VendorDriver
from provisioner.vendors import drivers
from provisioner.vendors.poly import obi, sections
from provisioner.wiping import blank, read, written

KNOWN = {one.manifest.name: one for one in drivers()}
CANARY = re.compile(r"canary|Canary", re.ASCII)


def memory(driver: VendorDriver, config: ResolvedConfig, stored: Mapping[str, str]) -> dict[str, str]:
    """The device's parameters after it has read its own file; a file that leaves one out takes nothing away."""
    text = next(
        driver.render(file, config)
        for file in files_of(driver, config.model)
        if file.mac is not None and file.kind.value == "device"
    )
    if driver.manifest.name == "yealink":
        pairs, odd = phone.read_config(text)
        assert not odd, odd
        return phone.settle(phone.last_wins([pairs]), stored, overwrite=False)
    told = obi.read(text) if config.model.dialect == "obi" else sections.read(text)
    kept = {**stored, **told}
    return {name: value for name, value in kept.items() if value}


def of(driver: VendorDriver, model: Model, lines: Sequence[Line], emptied: tuple[int, ...]) -> ResolvedConfig:
    whole = config_of(driver, model)
    return replace(whole, lines=tuple(lines), emptied=emptied)


@EACH_MODEL
def test_a_line_that_is_freed_leaves_nothing_in_the_devices_memory(driver: VendorDriver, model: Model) -> None:
    bound = lines_of(model)
    held = memory(driver, of(driver, model, bound, ()), {})
    gone, left = bound[-1], bound[:-1]
    assert any(gone.secret in value for value in held.values())
    lean = memory(driver, of(driver, model, left, ()), held)
    after = memory(driver, of(driver, model, left, (gone.number,)), held)
    mine = [name for name, value in after.items() if gone.secret in value or gone.auth_user in value]
    assert mine == [], "the old registration is still in its memory"
    if model.dialect != "obi" or not left:
        assert any(gone.secret in value for value in lean.values()), "a file without it would have left it there"
    for line in left:
        assert any(line.secret == value for value in after.values()), f"line {line.number} lost its own"


@EACH_MODEL
def test_all_lines_freed_leave_no_registration(driver: VendorDriver, model: Model) -> None:
    bound = lines_of(model)
    held = memory(driver, of(driver, model, bound, ()), {})
    after = memory(driver, of(driver, model, (), tuple(line.number for line in bound)), held)
    assert [value for value in after.values() if "Sip-Canary" in value or "auth-canary" in value] == []


@EACH_MODEL
def test_a_wiped_device_knows_no_line_and_no_password(driver: VendorDriver, model: Model) -> None:
    config = of(driver, model, lines_of(model), ())
    held = memory(driver, config, {})
    wiped = replace(config, lines=(), wiped=True)
    after = memory(driver, wiped, held)
    told = "\n".join(f"{name}={value}" for name, value in after.items())
    for secret in (ADMIN, USER, DOT1X, "Sip-Canary", "auth-canary", "198.51.100.9", "sip1.example.net", "*97", "2002"):
        assert secret not in told, [line for line in told.splitlines() if secret in line]
    if BASE.rstrip("/") in "\n".join(held.values()):
        assert BASE.rstrip("/") in told, "it could not come back"


@EACH_MODEL
def test_the_same_wipe_is_the_same_bytes(driver: VendorDriver, model: Model) -> None:
    """Phones compare sums, so nothing may differ from fetch to fetch."""
    wiped = replace(of(driver, model, (), ()), wiped=True)
    for file in files_of(driver, model):
        if file.mac is not None and file.kind.value == "device":
            assert driver.render(file, wiped) == driver.render(file, wiped)


@pytest.mark.parametrize(
    ("vendor", "model", "name"),
    [
        ("yealink", "T46S", "voice.jitter.min"),
        ("yealink", "T28P", "voice.jitter.min"),
        ("poly", "VVX 411", "device.pacfile.data"),
        ("poly", "OBi302", "DeviceInfo.WAN.DNSServer1"),
    ],
)
def test_a_raw_parameter_goes_with_everything_else(vendor: str, model: str, name: str) -> None:
    driver = KNOWN[vendor]
    row = driver.manifest.models[model]
    layer = ConfigLayer(Scope.DEVICE, mac_of(driver), {}, {name: "raw-Canary"})
    config = resolve(mac_of(driver), row, (), merge([layer]), base_url=BASE)
    held = memory(driver, config, {})
    assert "raw-Canary" in held.values()
    assert "raw-Canary" not in memory(driver, replace(config, wiped=True), held).values()


def test_firmware_that_is_too_old_is_upgraded_first() -> None:
    driver = KNOWN["poly"]
    row = driver.manifest.models["VVX 411"]
    config = replace(of(driver, row, (), ()), wiped=True, upgrade_only=True)
    assert "reg.1.address" not in memory(driver, config, {})


def test_what_the_program_itself_says_and_the_own_ca_stay_in_a_bare_device() -> None:
    driver = KNOWN["yealink"]
    row = driver.manifest.models["T46S"]
    pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    built = ConfigLayer(Scope.BUILT_IN, "", {"poll.period": parse_value("poll.period", 7200)})
    values = {"poll.period": parse_value("poll.period", 3600), "language": "de-DE"}
    site = ConfigLayer(Scope.SITE, "s", values)
    device = ConfigLayer(Scope.DEVICE, "m", {"ca.custom": pem}, {"voice.jitter.min": "1"})
    bare = blank(resolve(mac_of(driver), row, (), merge([built, site, device])))
    assert {name: one.value for name, one in bare.values.items()} == {"poll.period": 7200, "ca.custom": pem}
    assert (dict(bare.raw), bare.lines) == ({}, ())


@pytest.mark.parametrize("lines", [(), (1,), (12, 3, 3)])
def test_the_column_reads_as_it_was_written(lines: tuple[int, ...]) -> None:
    assert read(written(lines)) == (tuple(sorted(set(lines))), False)
    assert read("*") == ((), True)
