"""What a waiting phone is offered: one line to the prompts, every model, no secret but its own, no number but two."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.activation_offer import Moment, Offers, label_of, networks_of
from provisioner.activation_secret import credential
from provisioner.contradictions import contradictions
from provisioner.errors import NoSuchFile, Unusable
from provisioner.layers import merge, resolve
from provisioner.model import ConfigLayer, Line, Mac, Model, ResolvedConfig, Scope
from provisioner.neutral import SETTINGS, parse_value
from provisioner.settings import Settings
from provisioner.vendor import VendorDriver
from provisioner.vendors import drivers
from provisioner.vendors.poly import obi, sections

KEY = bytes(range(32))
MOMENT = Moment(1_795_300_000.0, b"12345678")
BASE = "https://prov.example.net:8443/"
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
CANARY = "C4nary-Secret"
LAYER: Mapping[str, object] = {
    "sip.server": "pbx.example.net",
    "sip.outbound_proxy": "sbc.example.net",
    "voicemail.number": "*97",
    "password.admin": f"{CANARY}-1",
    "password.user": f"{CANARY}-2",
    "net.dot1x.mode": "md5",
    "net.dot1x.identity": "phones",
    "net.dot1x.password": f"{CANARY}-3",
    "dialplan.rules": [{"match": "0x.T", "prefix": "9"}],
    "hotline.number": "9000",
    "keys": [{"position": 1, "kind": "speed_dial", "value": "4242", "label": "Ann"}],
    "net.vlan": 20,
    "time.zone": "Europe/Berlin",
    "phonebook.url": "https://book.example.net/all.xml",
    "emergency.numbers": ["112", "911"],
}
DRIVERS = drivers()
MODELS = [(driver, model) for driver in DRIVERS for model in driver.manifest.models.values()]
EACH_MODEL = pytest.mark.parametrize(
    ("driver", "model"), MODELS, ids=[f"{driver.manifest.name}-{model.name}" for driver, model in MODELS]
)
VVX = next(model for _, model in MODELS if model.name == "VVX 450")
KNOWN = Path(__file__).parent / "vendors" / "known"


def settings(**chosen: object) -> Settings:
    named = {"server_name": "prov.example.net", **{f"activation_{name}": one for name, one in chosen.items()}}
    return Settings(data=Path("nowhere"), **named)  # type: ignore[arg-type]  # names and types are the tests'


def offers(authority: str = "", **chosen: object) -> Offers:
    return Offers(settings(**chosen), lambda: KEY, authority)


def resolved(driver_or_mac: VendorDriver | str, model: Model, **more: object) -> ResolvedConfig:
    mac = driver_or_mac if isinstance(driver_or_mac, str) else min(driver_or_mac.manifest.ouis) + "aabbcc"
    entries = {name: parse_value(name, one) for name, one in {**LAYER, **more}.items()}
    raw = {"reg.2.auth.password": f"{CANARY}-4"} if model.vendor == "poly" else {"account.2.password": f"{CANARY}-4"}
    layer = ConfigLayer(Scope.ACCOUNT, "acme", entries, raw)
    return resolve(Mac(mac), model, (), merge([layer]), base_url=BASE)


def offered(driver: VendorDriver, model: Model, site: str = "", **more: object) -> ResolvedConfig:
    return offers().configuration(resolved(driver, model, **more), MOMENT, site=site, known=True)


def rendered(driver: VendorDriver, config: ResolvedConfig) -> Iterator[str]:
    words = {"mac": config.mac, "MAC": config.mac.upper(), "code": config.model.code, "part": config.model.part_number}
    for name in driver.manifest.files[config.model.dialect]:
        file = driver.match(name.format_map(words), "")
        if file is None or file.upload:
            continue
        try:
            yield driver.render(file, config).decode()
        except NoSuchFile:
            continue  # 404 is some names' normal answer


def told(driver: VendorDriver, config: ResolvedConfig) -> dict[str, str]:
    """What the device reads in its own file, by this test's own reading for Yealink."""
    name = {"obi": f"{config.mac}.xml", "ucs": f"{config.mac}-user.cfg", "ucs4": f"{config.mac}-user.cfg"}
    file = driver.match(name.get(config.model.dialect, f"{config.mac}.cfg"), "")
    assert file is not None
    body = driver.render(file, config)
    if config.model.dialect == "obi":
        return obi.read(body)
    if driver.manifest.name == "poly":
        return sections.read(body)
    pairs = (line.partition(" = ") for line in body.decode().splitlines())
    return {name: value for name, equals, value in pairs if equals}


def driver_of(name: str) -> tuple[VendorDriver, Model]:
    return next((driver, model) for driver, model in MODELS if model.name == name)


def told_of(name: str) -> dict[str, str]:
    driver, model = driver_of(name)
    return told(driver, offered(driver, model))


# --- every model ----------------------------------------------------------------------------------


@EACH_MODEL
def test_every_model_has_one_line_that_only_it_can_register(driver: VendorDriver, model: Model) -> None:
    config = offered(driver, model)
    (line,) = config.lines
    assert (line.number, line.extension) == (1, config.mac)
    assert credential(KEY, line.auth_user, MOMENT.at, 86_400) == (config.mac, line.secret)
    text = "\n".join(rendered(driver, config))
    assert text.count(line.secret) == 1
    assert line.auth_user in text
    assert "prov.example.net" in re.sub(r"https://\S+", "", text), "the SIP server"
    assert "pbx.example.net" not in text
    assert CANARY not in text
    for word in ("9000", "4242", "*97", "sbc.example.net", "book.example.net"):
        assert word not in text, f"{word} belongs to phones that are somebody's"
    assert "2288" in text, "dialled by the phone, or by its user as the label asks"


@EACH_MODEL
def test_the_same_moment_makes_the_same_bytes(driver: VendorDriver, model: Model) -> None:
    assert list(rendered(driver, offered(driver, model))) == list(rendered(driver, offered(driver, model)))


@EACH_MODEL
def test_it_touches_no_network_of_which_no_layer_speaks(driver: VendorDriver, model: Model) -> None:
    bare = resolve(Mac(min(driver.manifest.ouis) + "aabbcc"), model, (), merge([]), base_url=BASE)
    names = " ".join(told(driver, offers().configuration(bare, MOMENT, known=False))).lower()
    for word in ("vlan", "lldp", "cdp", "802_1x", "dot1x"):
        assert word not in names


@EACH_MODEL
def test_every_parameter_is_known_or_has_its_own_source(driver: VendorDriver, model: Model) -> None:
    vendor = driver.manifest.name
    own = tomllib.loads((KNOWN / f"{vendor}-own.toml").read_text(encoding="utf-8"))
    known = {*(KNOWN / f"{vendor}.txt").read_text(encoding="utf-8").split(), *own}
    found = told(driver, offered(driver, model, "berlin", **{"activation.emergency": "sos.example.net"}))
    assert {re.sub(r"(?<=\.)[0-9]+(?=\.|$)", "N", name) for name in found} - known == set()


# --- what it says to each dialect -----------------------------------------------------------------


def test_ucs_dials_the_prompts_when_picked_up_and_nothing_else() -> None:
    found = told_of("VVX 450")
    assert found["reg.1.label"] == "Activate (no emergency calls)"
    assert (found["reg.1.server.1.address"], found["reg.1.server.1.port"]) == ("prov.example.net", "5060")
    assert found["reg.1.server.1.transport"] == "UDPOnly"
    assert (found["call.autoOffHook.1.enabled"], found["call.autoOffHook.1.contact"]) == ("1", "2288")
    assert (found["dialplan.digitmap"], found["dialplan.digitmap.timeOut"]) == ("2288", "4")
    assert found["dialplan.impossibleMatchHandling"] == "1"
    assert found["dialplan.applyToDirectoryDial"] == found["dialplan.applyToCallListDial"] == "1"
    assert found["feature.urlDialing.enabled"] == "0"
    assert (found["prov.polling.mode"], found["prov.polling.period"]) == ("rel", "3600")
    assert found["sec.srtp.enable"] == "0"
    assert found["device.net.vlanId"] == "20"
    assert not any(name.startswith("reg.2.") for name in found)


def test_yealink_dials_the_prompts_when_picked_up_and_nothing_else() -> None:
    found = told_of("T46U")
    assert found["account.1.label"] == "Activate (no emergency calls)"
    assert found["account.1.sip_server.1.transport_type"] == "0"
    on = [name for name, value in found.items() if re.fullmatch(r"account\.[0-9]+\.enable", name) and value == "1"]
    assert on == ["account.1.enable"]
    assert (found["features.hotline_number"], found["features.hotline_delay"]) == ("2288", "0")
    assert (found["dialplan.digitmap.enable"], found["dialplan.digitmap.string"]) == ("1", "2288")
    assert found["dialplan.digitmap.no_match_action"] == "1"
    assert found["features.direct_ip_call_enable"] == "0"
    assert found["static.auto_provision.repeat.enable"] == "1"
    assert found["static.auto_provision.repeat.minutes"] == "5"
    assert found["linekey.2.type"] == "0"


def test_what_closed_a_yealink_is_undone_when_it_is_somebody_s() -> None:
    """These phones keep what a later file does not name."""
    driver, model = driver_of("T46U")
    closed = told(driver, offered(driver, model, "berlin", **{"activation.emergency": "sos.example.net"}))
    for rules in ([], [{"match": "0x.T", "prefix": "9"}]):
        open_again = told(driver, resolved(driver, model, **{"dialplan.rules": rules}))
        for name in closed:
            if name.startswith(("features.", "dialplan.digitmap.enable", "dialplan.emergency.server.1.address")):
                assert name in open_again, name
        assert open_again["features.direct_ip_call_enable"] == "%NULL%"
        assert open_again["dialplan.emergency.server.1.address"] == "%NULL%"
        assert open_again["dialplan.digitmap.enable"] == ("1" if rules else "0")
        assert open_again.get("dialplan.digitmap.no_match_action", "2") == "2"


def test_an_adapter_dials_the_prompts_when_picked_up_and_nothing_else() -> None:
    found = told_of("OBi302")
    port = "VoiceService.1.X_FXS.1."
    assert found[f"{port}DigitMap"] == "(<S0:2288>)"
    assert found[f"{port}OutboundCallRoute"] == "{2288:sp1}"
    assert found["VoiceService.1.VoiceProfile.1.DigitMap"] == "(2288)"
    assert found["VoiceService.1.VoiceProfile.1.Line.2.Enable"] == "false"
    stem = "X_DeviceManagement.ITSPProvisioning."
    assert (found[f"{stem}Interval"], found[f"{stem}TimeofDay"]) == ("300", "")


# --- label, emergency numbers, place --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "emergency", "shown"),
    [
        ("T46U", True, "Activate"),
        ("VVX 450", True, "Activate: dial 2288"),
        ("VVX 450", False, "Activate (no emergency calls)"),
        ("SoundPoint IP 450", True, "Ask your administrator"),
        ("SoundPoint IP 450", False, "Ask your administrator (no emergency calls)"),
        ("W70B", False, "Activate: dial 2288 (no emergency calls)"),
    ],
)
def test_the_label_says_what_to_do_and_what_cannot_be_done(name: str, emergency: bool, shown: str) -> None:
    assert label_of(driver_of(name)[1], "2288", emergency) == shown


SOS = {"activation.emergency": "sos.example.net:5070"}


@pytest.mark.parametrize(
    ("name", "site", "given", "possible"),
    [
        ("VVX 450", "berlin", SOS, True),
        ("T46U", "berlin", SOS, True),
        ("VVX 450", "", SOS, False),
        ("VVX 450", "berlin", {}, False),
        ("VVX 450", "berlin", {**SOS, "emergency.numbers": []}, False),
        ("T28P", "berlin", SOS, False),
        ("OBi302", "berlin", SOS, False),
    ],
)
def test_emergency_numbers_need_a_place_and_a_server_that_takes_them(
    name: str, site: str, given: Mapping[str, object], possible: bool
) -> None:
    driver, model = driver_of(name)
    config = offered(driver, model, site, **given)
    assert config.get(SETTINGS["emergency.numbers"]) == (("112", "911") if possible else ())
    text = "\n".join(rendered(driver, config))
    assert ("sos.example.net" in text) is possible
    assert ("no emergency calls" in text) is not possible
    assert ("911" in text) is possible
    assert config.get(SETTINGS["hotline.delay"]) == (4 if possible else 0), "time to key it in"


@EACH_MODEL
def test_who_can_dial_112_is_given_the_time_and_the_tone_for_it(driver: VendorDriver, model: Model) -> None:
    """Nothing that dials at once stands between a lifted handset and an emergency number."""
    config = offered(driver, model, "berlin", **SOS)
    found = told(driver, config)
    at_once = (
        found.get("call.autoOffHook.1.enabled") == "1"
        or (found.get("features.hotline_number", "") != "" and found["features.hotline_delay"] == "0")
        or "<S0:" in "".join(value for name, value in found.items() if name.endswith("DigitMap"))
    )
    possible = "activation.emergency" not in model.refuses
    assert possible or at_once or "hotline.number" in model.refuses or not model.ivr_activation
    assert not (possible and at_once)
    assert ("no emergency calls" in config.lines[0].label) is not possible


def test_ucs_with_emergency_numbers_dials_nothing_by_itself_and_says_what_to_dial() -> None:
    driver, model = driver_of("VVX 450")
    found = told(driver, offered(driver, model, "berlin", **SOS))
    assert not any(name.startswith("call.autoOffHook") for name in found)
    assert found["reg.1.label"] == "Activate: dial 2288"
    assert found["dialplan.digitmap"] == "112|911|2288", "and nothing else"
    assert found["dialplan.impossibleMatchHandling"] == "1"
    theirs = replace(
        resolved(driver, model, **{"hotline.number": "9000", "hotline.delay": 4}),
        lines=(Line(1, "1001", "1001", "s3cret"),),
    )
    assert told(driver, theirs)["call.autoOffHook.1.contact"] == "9000", "a phone that is somebody's dials as it did"


def test_an_emergency_number_goes_to_its_own_server() -> None:
    driver, model = driver_of("VVX 450")
    poly = told(driver, offered(driver, model, "berlin", **SOS))
    assert poly["dialplan.digitmap"] == "112|911|2288"
    assert poly["dialplan.routing.emergency.2.value"] == "911"
    assert poly["dialplan.routing.emergency.2.server.1"] == "1"
    assert (poly["dialplan.routing.server.1.address"], poly["dialplan.routing.server.1.port"]) == (
        "sos.example.net",
        "5070",
    )
    driver, model = driver_of("T46U")
    yealink = told(driver, offered(driver, model, "berlin", **SOS))
    assert yealink["dialplan.digitmap.string"] == "112|911|2288"
    assert yealink["features.hotline_delay"] == "4"
    assert (yealink["dialplan.emergency.enable"], yealink["dialplan.emergency.2.value"]) == ("1", "911")
    assert yealink["dialplan.emergency.server.1.address"] == "sos.example.net"
    assert yealink["dialplan.emergency.server.1.port"] == "5070"


# --- where it registers ---------------------------------------------------------------------------


def test_server_port_and_transport_are_settings() -> None:
    chosen = offers(server="ivr.example.net", port=5070, transport="tcp", number="77", poll=600)
    config = chosen.configuration(resolved("0004f2aabbcc", VVX), MOMENT, known=True)
    found = told(driver_of("VVX 450")[0], config)
    assert (found["reg.1.server.1.address"], found["reg.1.server.1.port"]) == ("ivr.example.net", "5070")
    assert found["reg.1.server.1.transport"] == "TCPOnly"
    assert found["call.autoOffHook.1.contact"] == "77"


@pytest.mark.parametrize(("transport", "port", "trusted"), [("udp", "5060", False), ("tls", "5061", True)])
def test_our_ca_goes_along_where_it_is_needed(transport: str, port: str, trusted: bool) -> None:
    config = offers(CA, transport=transport).configuration(resolved("0004f2aabbcc", VVX), MOMENT, known=True)
    found = told(driver_of("VVX 450")[0], config)
    assert found["reg.1.server.1.port"] == port
    assert ("MIIB" in found.get("device.sec.TLS.customCaCert2", "")) is trusted


def test_a_layer_s_ca_is_kept_and_no_other_put_in_its_place() -> None:
    theirs = CA.replace("MIIB", "MIIC")
    config = offers(CA, transport="tls").configuration(
        resolved("0004f2aabbcc", VVX, **{"ca.custom": theirs}), MOMENT, known=True
    )
    assert config.get(SETTINGS["ca.custom"]) == theirs


def test_an_image_is_for_devices_that_somebody_has_added() -> None:
    config = resolved("0004f2aabbcc", VVX, **{"firmware.version": "9.9.9"})
    for known in (True, False):
        made = offers().configuration(config, MOMENT, known=known)
        assert (made.get(SETTINGS["firmware.version"]) == "9.9.9") is known


def test_firmware_that_is_too_old_for_secrets_gets_none() -> None:
    config = replace(resolved("0004f2aabbcc", VVX), upgrade_only=True)
    assert offers().configuration(config, MOMENT, known=True) is config


def test_with_a_life_of_nothing_the_secret_is_the_connection_s() -> None:
    made = offers(secret_life=0)
    config = resolved("0004f2aabbcc", VVX)
    first, again = (made.configuration(config, MOMENT, known=True) for _ in range(2))
    other = made.configuration(config, Moment(MOMENT.at, b"87654321"), known=True)
    assert first.lines == again.lines
    assert first.lines != other.lines


# --- networks and events --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "there"),
    [
        ("192.0.2.7", True),
        ("192.0.3.7", False),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_networks_are_where_strangers_are_offered(address: str, there: bool) -> None:
    assert offers(networks=("192.0.2.9/24", "2001:db8::/48")).reach(address) is there


def test_no_network_is_nowhere() -> None:
    assert not offers().reach("192.0.2.7")


def test_what_is_no_network_is_refused_by_name() -> None:
    with pytest.raises(Unusable, match=r"192\.0\.2\.0/33"):
        networks_of(["192.0.2.0/33"])


def test_an_offer_is_told_once_an_hour_and_holds_no_secret() -> None:
    made = offers()
    config = made.configuration(resolved("0004f2aabbcc", VVX), MOMENT, known=False)
    event = made.event(config, "192.0.2.7", 1000.0, known=False)
    assert event is not None
    assert (event.kind, event.mac) == ("activation_offered", "0004f2aabbcc")
    assert event.details["device"] == "nobody has added it"
    assert config.lines[0].secret not in repr(event)
    assert made.event(config, "192.0.2.7", 4599.0, known=False) is None
    assert made.event(config, "192.0.2.7", 4600.0, known=False) is not None
    assert made.event(replace(config, mac=Mac("0004f2000009")), "", 4600.0, known=True) is not None


def test_what_it_remembers_of_events_is_bounded() -> None:
    made = offers()
    config = made.configuration(resolved("0004f2aabbcc", VVX), MOMENT, known=False)
    for number in range(1, 5000):
        assert made.event(replace(config, mac=Mac(f"0004f2{number:06x}")), "", 1000.0, known=True)
    assert len(made._told) == 4096


# --- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "word"),
    [
        ({"networks": ("10.0.0.0/33",)}, "activation.networks"),
        ({"number": "act"}, "activation.number"),
        ({"number": ""}, "activation.number"),
        ({"server": "two words"}, "activation.server"),
        ({"secret_life": 600}, "activation.secret_life"),
        ({"secret_life": 3600, "poll": 86_400}, "activation.secret_life"),
    ],
)
def test_settings_that_cannot_be_meant_are_told(chosen: Mapping[str, object], word: str) -> None:
    found = contradictions(settings(**chosen))
    assert len(found) == 1
    assert word in found[0]


def test_the_defaults_and_a_secret_for_each_fetch_are_fine() -> None:
    assert contradictions(settings()) == ()
    assert contradictions(settings(secret_life=0)) == ()
