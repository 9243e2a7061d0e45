"""The files of Poly devices, and what no value can do to them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from poly_phone import BASE, MAC, MODELS, PEM, POLY, body, config, line, maximal, told, vvx

from provisioner.errors import Invalid, NoSuchFile, RenderFailed
from provisioner.model import Mac, ResolvedConfig, Scope, Sourced
from provisioner.vendors.poly import obi, sections

# --- UC Software -------------------------------------------------------------------------------


def test_the_master_of_one_phone_is_404_so_that_it_takes_everybodys() -> None:
    with pytest.raises(NoSuchFile):
        body(f"{MAC}.cfg", config("VVX 450", line()))


@pytest.mark.parametrize("name", ["{}-phone.cfg", "{}-web.cfg", "{}-license.cfg", "{}-app.log", "{}-directory.xml"])
def test_uploads_and_licences_are_not_made(name: str) -> None:
    with pytest.raises(NoSuchFile):
        body(name.format(MAC), config("VVX 450", line()))


def test_the_master_is_the_same_for_everybody_and_holds_no_secret() -> None:
    one = body("000000000000.cfg", config("VVX 450", line(secret="CANARY"), values={"password.admin": "CANARY"}))
    assert one == body("000000000000.cfg", config("SoundPoint IP 331"))
    assert b'CONFIG_FILES="[PHONE_MAC_ADDRESS]-user.cfg"' in one
    assert b'APP_FILE_PATH_SPIP320="spip320/sip.ld"' in one
    assert b"CANARY" not in one and MAC.encode() not in one


def test_a_phone_that_is_nobody_yet_is_led_to_the_secure_listener() -> None:
    values = {"ca.custom": Sourced(PEM, Scope.BUILT_IN)}
    nobody = ResolvedConfig(Mac("0" * 12), MODELS["VVX 450"], (), values, {}, upgrade_only=True, base_url=BASE)
    master = body("000000000000.cfg", nobody)
    assert b'CONFIG_FILES="poly.cfg"' in master and b'CONFIG_FILES_SPIP320="poly.cfg"' in master
    found = sections.read(body("poly.cfg", nobody))
    assert found["device.prov.serverName"] == "https://prov.example.net:8443"
    assert found["device.sec.TLS.customCaCert2"].startswith("-----BEGIN")
    assert not any(name.startswith("reg.") for name in found)


def test_a_wanted_release_is_a_folder_or_a_place_in_the_master() -> None:
    pinned = body("000000000000.cfg", config("VVX 450", values={"firmware.version": "5.9.6.2327"}))
    assert b'APP_FILE_PATH="5.9.6.2327/sip.ld"' in pinned
    elsewhere = body("000000000000.cfg", config("VVX 450", values={"firmware.url": "https://fw.example.net/sip.ld"}))
    assert b'APP_FILE_PATH="https://fw.example.net/sip.ld"' in elsewhere


def test_the_seed_directory_is_empty_xml() -> None:
    assert b"<item_list/>" in body("000000000000-directory.xml", config("VVX 450"))


def test_a_line_registers_at_both_servers() -> None:
    found = vvx(
        line(display_name="Reception"), values={"sip.server": "a.example.net", "sip.backup": "b.example.net:5071"}
    )
    assert found["reg.1.address"] == found["reg.1.auth.userId"] == "2001"
    assert found["reg.1.auth.password"] == "s3cret"
    assert found["reg.1.displayName"] == "Reception"
    assert (found["reg.1.server.1.address"], found["reg.1.server.1.port"]) == ("a.example.net", "5061")
    assert (found["reg.1.server.2.address"], found["reg.1.server.2.port"]) == ("b.example.net", "5071")
    assert found["reg.1.server.2.transport"] == "TLS"


def test_registrations_have_no_gap_and_keys_keep_the_line_number() -> None:
    found = vvx(line(2), line(5), values={"keys": [{"position": 9, "kind": "line", "line": 5}]})
    assert (found["reg.1.address"], found["reg.2.address"]) == ("2002", "2005")
    assert "reg.3.address" not in found
    assert (found["lineKey.2.category"], found["lineKey.2.index"]) == ("Line", "1")
    assert (found["lineKey.9.category"], found["lineKey.9.index"]) == ("Line", "2")


def test_one_line_may_differ() -> None:
    found = vvx(
        line(1),
        line(2),
        values={
            "sip.server": "a.example.net",
            "line.2.sip.server": "b.example.net",
            "line.2.sip.transport": "udp",
            "line.2.sip.srtp": "required",
            "line.2.voicemail.number": "*98",
        },
    )
    assert (found["reg.1.server.1.address"], found["reg.2.server.1.address"]) == ("a.example.net", "b.example.net")
    assert (found["reg.1.server.1.transport"], found["reg.2.server.1.transport"]) == ("TLS", "UDPOnly")
    assert found["reg.2.server.1.port"] == "5060"
    assert found["reg.2.srtp.require"] == "1" and "reg.1.srtp.require" not in found
    assert found["msg.mwi.2.callBack"] == "*98" and "msg.mwi.1.callBack" not in found


def test_without_lines_the_first_registration_is_switched_off() -> None:
    found = vvx()
    assert found["reg.1.address"] == ""
    assert not any(name.startswith(("reg.2", "reg.1.auth")) for name in found)


def test_a_line_that_the_model_lacks_is_an_error() -> None:
    with pytest.raises(RenderFailed, match="VVX 101 has 1"):
        told(config("VVX 101", line(2)))
    with pytest.raises(RenderFailed, match="OBi302 has 2"):
        told(config("OBi302", line(3)))


@pytest.mark.parametrize("model", ["VVX 450", "SoundPoint IP 650", "Trio 8800", "CCX 500", "Edge E450"])
def test_every_device_parameter_has_its_twin(model: str) -> None:
    values = {"password.admin": "1", "net.vlan": 5, "ca.custom": PEM, "net.dot1x.mode": "md5", "syslog.server": "h"}
    found = told(config(model, line(), values=values, raw={"device.baseProfile": "Generic"}))
    device = {
        name for name in found if name.startswith("device.") and not name.endswith(".set") and name != "device.set"
    }
    assert found["device.set"] == "1"
    assert len(device) > 10
    assert [name for name in device if found.get(f"{name}.set") != "1"] == []


def test_provisioning_url_and_trust() -> None:
    found = vvx(line(), values={"ca.custom": PEM, "storm.retry_delay": 90, "storm.retry_attempts": 5})
    assert found["device.prov.serverType"] == "3"
    assert found["device.prov.serverName"] == "https://prov.example.net:8443"
    assert found["device.sec.TLS.customCaCert2"] == "-----BEGIN CERTIFICATE----- MIIB AAAA -----END CERTIFICATE-----"
    assert found["device.sec.TLS.profile.caCertList1"] == "All"
    assert (found["device.prov.redunAttemptLimit"], found["device.prov.redunInterAttemptDelay"]) == ("5", "90")


def test_an_upgrade_file_holds_no_line_no_password_and_no_raw_parameter() -> None:
    values = {"password.admin": "CANARY", "sip.server": "a.example.net"}
    for model, raw in (("VVX 450", "reg.1.auth.password"), ("OBi302", "VoiceService.1.VoiceProfile.1.Line.1.SIP.URI")):
        name = f"{MAC}.xml" if model == "OBi302" else f"{MAC}-user.cfg"
        resolved = config(model, line(secret="CANARY"), values=values, raw={raw: "CANARY"}, upgrade_only=True)
        made = body(name, resolved)
        assert b"CANARY" not in made and b"2001" not in made and b"a.example.net" not in made
        assert b"prov.example.net" in made


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Europe/Berlin", ("3600", "3", "1", "1", "1", "2", "10", "1", "1", "1", "3")),
        ("America/New_York", ("-18000", "3", "8", "1", "0", "2", "11", "1", "1", "0", "2")),
        ("Australia/Sydney", ("36000", "10", "1", "1", "0", "2", "4", "1", "1", "0", "3")),
    ],
)
def test_summer_time_is_written_in_the_phones_syntax(name: str, expected: tuple[str, ...]) -> None:
    found = vvx(values={"time.zone": name})
    stem = "tcpIpApp.sntp.daylightSavings"
    parts = ("month", "date", "dayOfWeek", "dayOfWeek.lastInMonth", "time")
    wanted = [f"{stem}.{edge}.{part}" for edge in ("start", "stop") for part in parts]
    assert tuple(found[one] for one in ("tcpIpApp.sntp.gmtOffset", *wanted)) == expected


def test_a_zone_without_summer_time_switches_it_off() -> None:
    found = vvx(values={"time.zone": "Asia/Kolkata"})
    assert found["tcpIpApp.sntp.gmtOffset"] == "19800"
    assert found["tcpIpApp.sntp.daylightSavings.enable"] == "0"
    assert told(config("OBi302", values={"time.zone": "Asia/Kolkata"}))["DeviceInfo.Time.LocalTimeZone"].startswith(
        "GMT+05:30"
    )


def test_emergency_numbers_stand_first_and_bare_before_any_rule() -> None:
    values = {
        "emergency.numbers": ["112", "110"],
        "dialplan.rules": [{"match": "xxx", "prefix": "0"}, "[2-8]xxx", "9.T"],
        "dialplan.timeout": 6,
    }
    found = vvx(line(), values=values)
    assert found["dialplan.digitmap"] == "112|110|RR0Rxxx|[2-8]xxx|9x.T|*x.T|x.T"
    assert found["dialplan.digitmap.timeOut"] == "6|6|6|6|6|6|6"
    adapter = told(config("OBi302", line(), values=values))
    assert adapter["VoiceService.1.VoiceProfile.1.DigitMap"] == "(112|110|<0>xxx|[2-8]xxx|9x.S6|*x.S6|x.S6)"
    assert adapter["VoiceService.1.X_FXS.1.DigitMap"] == "(112|110|(Msp1))"
    assert adapter["VoiceService.1.X_FXS.1.OutboundCallRoute"].startswith("{112:sp1},{110:sp1},")


def test_keys_of_each_kind() -> None:
    keys = [
        {"position": 2, "kind": "blf", "value": "2002", "label": "Alice"},
        {"position": 3, "kind": "speed_dial", "value": "0301234", "label": "Doctor"},
        {"position": 4, "kind": "park", "value": "701"},
        {"position": 5, "kind": "none"},
    ]
    found = vvx(line(), values={"keys": keys})
    categories = [found[f"lineKey.{position}.category"] for position in range(1, 6)]
    assert categories == ["Line", "BLF", "EFK", "BLF", "Unassigned"]
    assert [found[f"attendant.resourceList.{one}.type"] for one in (1, 2)] == ["normal", "automata"]
    assert found["efk.efklist.1.action.string"] == "0301234$Tinvite$"
    older = told(config("SoundPoint IP 650", line(), values={"keys": keys}))
    assert older["attendant.resourceList.1.address"] == "2002"
    assert older["softkey.1.action"] == "0301234$Tinvite$"
    assert not any(name.startswith("lineKey") for name in older)


def test_codecs_in_order_and_all_others_off() -> None:
    found = vvx(values={"sip.codecs": ["pcma", "opus"]})
    on = {name: value for name, value in found.items() if name.startswith("voice.codecPref.") and value != "0"}
    assert on == {"voice.codecPref.G711_A": "1", "voice.codecPref.Opus": "2"}


def test_raw_parameters_win_and_stand_once() -> None:
    document = body(
        f"{MAC}-user.cfg", config("VVX 450", line(), raw={"reg.1.label": "raw", "device.dhcp.bootSrvUseOpt": "1"})
    )
    assert document.count(b'reg.1.label="') == 1
    assert document.count(b'device.dhcp.bootSrvUseOpt="') == document.count(b"device.dhcp.bootSrvUseOpt.set=") == 1
    found = sections.read(document)
    assert (found["reg.1.label"], found["device.dhcp.bootSrvUseOpt"]) == ("raw", "1")


def test_raw_parameters_of_the_other_dialect_are_left_out() -> None:
    raw = {"reg.1.label": "ucs", "VoiceService.1.VoiceProfile.1.Line.1.X_DisplayLabel": "obi"}
    assert "VoiceService.1.VoiceProfile.1.Line.1.X_DisplayLabel" not in vvx(line(), raw=raw)
    found = told(config("OBi302", line(), raw=raw))
    assert found["VoiceService.1.VoiceProfile.1.Line.1.X_DisplayLabel"] == "obi"
    assert "reg.1.label" not in found


def test_raw_parameters_of_shared_layers_name_their_vendor_and_the_nearer_scope_wins() -> None:
    raw = {
        "yealink:account.1.label": Sourced("no", Scope.DEVICE),
        "reg.1.label": Sourced("device", Scope.DEVICE),
        "poly:reg.1.label": Sourced("account", Scope.ACCOUNT),
        "poly:up.idleTimeout": Sourced("40", Scope.DEFAULTS),
    }
    found = told(ResolvedConfig(MAC, MODELS["VVX 450"], (line(),), {}, raw, base_url=BASE))
    assert (found["reg.1.label"], found["up.idleTimeout"]) == ("device", "40")
    assert not any("account" in name for name in found)


@pytest.mark.parametrize("name", ["reg.1.label", "VoiceService.1.X_FXS.1.DigitMap", "DeviceInfo.WAN.802_1XMode"])
def test_good_raw_names_are_taken(name: str) -> None:
    POLY.check_raw(name, 'any "text" & 😀')


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reg", "1"), ("reg.1.label ", "1"), ('reg.1" x="', "1"), ("reg..label", "1"), ("1reg.x", "1"), ("", ""),
        ("reg.1.label\n", "1"), ("a>.b", "1"), ("reg.1.label", "a\nb"), ("reg.1.label", "\x00"),
        ("reg.1.label", "x" * 9000), ("poly:reg.1.label", "1"),
    ],
)  # fmt: skip
def test_bad_raw_parameters_are_refused_at_entry(name: str, value: str) -> None:
    with pytest.raises(Invalid):
        POLY.check_raw(name, value)


@pytest.mark.parametrize("value", ["a\nb", "a\tb", "\x00", "\x85", "\u2028", "\ud800", "\uffff"])
def test_a_control_character_in_any_place_is_an_error(value: str) -> None:
    for model in ("VVX 450", "OBi302"):
        with pytest.raises(RenderFailed):
            told(config(model, line(display_name=value)))
        with pytest.raises(RenderFailed):
            told(config(model, line(secret=value)))


TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029\ufffe\uffff"), max_size=60
)


@given(TEXT, TEXT, TEXT, TEXT)
def test_any_text_arrives_as_it_is_and_opens_nothing(name: str, label: str, secret: str, raw: str) -> None:
    plain = vvx(line(display_name="n", label="l"), raw={"up.note": "x"})
    found = vvx(line(display_name=name, label=label, secret=secret), raw={"up.note": raw})
    assert found.keys() == plain.keys()
    assert found["reg.1.displayName"] == (name or "2001")
    assert (found["reg.1.auth.password"], found["up.note"]) == (secret, raw)
    adapter = told(config("OBi302", line(display_name=name, label=label, secret=secret)))
    assert adapter.keys() == told(config("OBi302", line())).keys()
    assert adapter["VoiceService.1.VoiceProfile.1.Line.1.CallingFeatures.CallerIDName"] == (name or "2001")
    assert adapter["VoiceService.1.VoiceProfile.1.Line.1.SIP.AuthPassword"] == secret


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_raw_parameter_is_taken_whole_or_refused(name: str, value: str) -> None:
    try:
        found = vvx(raw={name: value})
    except RenderFailed:
        return
    extra = found.keys() - vvx().keys()
    assert extra <= {name, f"{name}.set"}
    assert name not in extra or found[name] == value


def test_the_same_input_gives_the_same_bytes_and_no_parameter_stands_twice() -> None:
    resolved = config("VVX 450", *map(line, range(1, 9)), values=maximal(), raw={"reg.1.label": "x"})
    first = body(f"{MAC}-user.cfg", resolved)
    assert first == body(f"{MAC}-user.cfg", resolved)
    names = re.findall(rb' ([a-zA-Z][\w.]+)="', first.split(b"?>", 1)[1])
    assert len(names) == len(set(names)) > 150


# --- OBi ---------------------------------------------------------------------------------------


def test_ports_are_lines_with_a_profile_of_their_own() -> None:
    values = {"sip.server": "a.example.net", "line.2.sip.server": "b.example.net:5070", "line.2.sip.transport": "tcp"}
    found = told(config("OBi302", line(1), line(2, display_name="Fax"), values=values))
    stem = "VoiceService.1.VoiceProfile."
    assert found[f"{stem}1.SIP.ProxyServer"] == "a.example.net"
    assert (found[f"{stem}2.SIP.ProxyServer"], found[f"{stem}2.SIP.ProxyServerPort"]) == ("b.example.net", "5070")
    assert found[f"{stem}2.SIP.ProxyServerTransport"] == "TCP"
    assert (found[f"{stem}1.Line.2.X_ServProvProfile"], found[f"{stem}1.Line.2.SIP.AuthUserName"]) == ("B", "2002")
    assert found["VoiceService.1.X_FXS.2.PrimaryLine"] == "SP2 Service"


def test_unbound_ports_are_switched_off() -> None:
    found = told(config("OBi504", line(2)))
    enabled = [found[f"VoiceService.1.VoiceProfile.1.Line.{number}.Enable"] for number in range(1, 5)]
    assert enabled == ["false", "true", "false", "false"]


def test_the_boot_file_of_a_model_only_leads_to_the_devices_own() -> None:
    found = obi.read(body("OBi302.xml", config("OBi302", line(secret="CANARY"))))
    assert found["X_DeviceManagement.ITSPProvisioning.ConfigURL"] == f"{BASE}$MAC.xml"
    assert len(found) == 3


def test_an_ata_fetches_its_ca_and_checks_the_sum() -> None:
    resolved = config("ATA 402", line(), values={"ca.custom": PEM})
    found = told(resolved)
    assert found["X_DeviceManagement.PlatformCACert.1.DownloadURL"] == f"{BASE}{MAC}-ca.pem"
    assert len(found["X_DeviceManagement.PlatformCACert.1.MD5CheckSum"]) == 32
    assert body(f"{MAC}-ca.pem", resolved).decode() == PEM
    with pytest.raises(NoSuchFile):
        body(f"{MAC}-ca.pem", config("ATA 402", line()))


@pytest.mark.parametrize(("begin", "end", "minutes"), [("01:00", "05:00", 240), ("23:30", "00:15", 45)])
def test_polling_is_spread_over_the_window(begin: str, end: str, minutes: int) -> None:
    found = told(config("OBi302", values={"poll.from": begin, "poll.to": end}))
    assert found["X_DeviceManagement.ITSPProvisioning.TimeofDay"] == f"{begin}+{minutes}"
    still = told(config("OBi302", values={"poll.enabled": False}))
    assert still["X_DeviceManagement.ITSPProvisioning.Method"] == "System Start"


def test_resync_events() -> None:
    assert POLY.resync_event(MODELS["VVX 450"], reboot=True) == "check-sync"
    assert POLY.resync_event(MODELS["OBi302"], reboot=False) == "resync"
    assert POLY.resync_event(MODELS["OBi302"], reboot=True) == "reboot"
