"""A waiting phone whose calls all go where it registers dials 112 only where that server takes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from provisioner.activation_offer import Moment, Offers
from provisioner.layers import merge, resolve
from provisioner.model import ConfigLayer, Mac, Model, ResolvedConfig, Scope
from provisioner.neutral import SETTINGS, parse_value
from provisioner.settings import Settings
from provisioner.vendor import VendorDriver
from provisioner.vendors import drivers

KEY = bytes(32)


def driver_of(name: str) -> tuple[VendorDriver, Model]:
    found = ((one, one.manifest.models[name]) for one in drivers() if name in one.manifest.models)
    return next(found)


def offered(name: str, rescue: str, chosen: Mapping[str, object]) -> tuple[ResolvedConfig, str]:
    """What such a phone is offered at a site with an emergency server, and its file."""
    driver, model = driver_of(name)
    said = {"activation.emergency": rescue, "emergency.numbers": ["112", "911"]}
    layer = ConfigLayer(Scope.SITE, "berlin", {name: parse_value(name, one) for name, one in said.items()}, {})
    mac = Mac(min(driver.manifest.ouis) + "aabbcc")
    settings = Settings(data=Path("nowhere"), server_name="prov.example.net", **chosen)  # type: ignore[arg-type]  # a test's
    offers = Offers(settings, lambda: KEY)
    wanted = resolve(mac, model, (), merge([layer]), base_url="https://prov.example.net/")
    config = offers.configuration(wanted, Moment(1_800_000_000.0, bytes(16)), site="berlin", known=True)
    file = driver.match(f"{mac}.{'xml' if model.dialect == 'obi' else 'cfg'}", "")
    assert file is not None
    return config, driver.render(file, config).decode()


@pytest.mark.parametrize("name", ["OBi302", "T28P"])
@pytest.mark.parametrize(
    ("server", "port", "rescue", "possible"),
    [
        ("sip.example.net", 0, "sip.example.net", True),
        ("sip.example.net", 5070, "SIP.example.net:5070", True),
        ("sip.example.net", 0, "sip.example.net:5060", True),
        ("sip.example.net", 5070, "sip.example.net", False),
        ("sip.example.net", 0, "sos.example.net", False),
        ("", 0, "prov.example.net", False),
    ],
)
def test_numbers_are_let_through_to_the_server_that_takes_them(
    name: str, server: str, port: int, rescue: str, possible: bool
) -> None:
    config, text = offered(name, rescue, {"activation_server": server, "activation_port": port})
    assert config.get(SETTINGS["emergency.numbers"]) == (("112", "911") if possible else ())
    assert ("no emergency calls" in config.lines[0].label) is not possible
    assert ("911" in text) is possible
    if config.model.dialect == "obi":
        assert ("(112|911|&lt;S4:2288&gt;)" in text) is possible, "time to key it in"
        assert ("{112:sp1},{911:sp1},{2288:sp1}" in text) is possible
        assert ("(112|911|2288)" in text) is possible
        assert ("(&lt;S0:2288&gt;)" in text) is not possible
    else:
        assert f"features.hotline_delay = {4 if possible else 0}" in text
