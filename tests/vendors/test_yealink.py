"""Yealink: a phone reads every value as it was meant, or the file is refused; templates, raw parameters, settings."""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.errors import Invalid, NoSuchFile, RenderFailed
from provisioner.layers import merge, resolve
from provisioner.model import ConfigLayer, Line, Mac, ResolvedConfig, Scope
from provisioner.neutral import SETTINGS, check_text, parse_value
from provisioner.rendering import Templates
from provisioner.shipped import shipped
from provisioner.vendors.yealink import Yealink, grammar
from provisioner.vendors.yealink.clock import zone_parameters
from provisioner.zones import names

HERE = Path(__file__).parent
TEMPLATES = Templates([shipped("templates") / "yealink"])
DRIVER = Yealink(TEMPLATES)
MODELS = DRIVER.manifest.models
MAC = Mac("805ec0aabbcc")
BASE = "https://prov.example.net:8443/"
LINE = Line(1, "2001", "u2001", "S3cr-et-2001", "Reception")


def config(
    model: str = "T46U",
    *lines: Line,
    raw: Mapping[str, str] | None = None,
    upgrade_only: bool = False,
    **values: object,
) -> ResolvedConfig:
    entries = {name.replace("__", "."): value for name, value in values.items()}
    layer = ConfigLayer(
        Scope.DEVICE, MAC, {name: parse_value(name, value) for name, value in entries.items()}, raw or {}
    )
    return resolve(MAC, MODELS[model], lines, merge([layer]), upgrade_only=upgrade_only, base_url=BASE)


def device_file(model: str = "T46U", *lines: Line, driver: Yealink = DRIVER, **more: object) -> str:
    file = driver.match(f"{MAC}.cfg", "")
    assert file is not None
    return driver.render(file, config(model, *lines, **more)).decode("utf-8")  # type: ignore[arg-type]  # values by name


def last(text: str, name: str) -> str | None:
    """What a phone holds after reading the file: the last such line."""
    found = [line.partition(" = ")[2] for line in text.splitlines() if line.startswith(f"{name} = ")]
    return found[-1] if found else None


# --- models ----------------------------------------------------------------------------------------


def test_ninety_models_of_every_family() -> None:
    assert len(MODELS) >= 90
    assert {model.dialect for model in MODELS.values()} == {"v80", "v81", "dect"}
    agents = [token.upper() for model in MODELS.values() for token in model.agents]
    assert len(agents) == len(set(agents))


def test_a_new_model_is_a_row_and_no_python(tmp_path: Path) -> None:
    began = time.perf_counter()
    rows = (Path(grammar.__file__).with_name("models.toml")).read_text(encoding="utf-8")
    row = '\n[[model]]\nname = "T99X"\nfamily = "desk"\nlines = 3\nline_keys = 5\ncode = "999"\nagents = ["T99X"]\n'
    (tmp_path / "models.toml").write_text(rows + row, encoding="utf-8")
    driver = Yealink(TEMPLATES, tmp_path / "models.toml")
    model = driver.manifest.models["T99X"]
    new = resolve(MAC, model, [LINE], merge([]), base_url=BASE)
    for name, marker in (
        (f"{MAC}.boot", 'include:config "y000000000999.cfg"'),
        ("y000000000999.cfg", f"static.auto_provision.server.url = {BASE}"),
        (f"{MAC}.cfg", "account.1.password = S3cr-et-2001"),
        (f"{MAC}.cfg", "account.3.enable = 0"),
        (f"{MAC}.cfg", "linekey.5.type = 0"),
    ):
        file = driver.match(name, "Yealink SIP-T99X 185.87.0.10 80:5e:c0:aa:bb:cc")
        assert file is not None and file.agent.model == "T99X"
        assert marker in driver.render(file, new).decode().splitlines()
    assert time.perf_counter() - began < 30


# --- files ---


def test_uploads_are_not_rendered() -> None:
    for ending in ("-local.cfg", "-contact.xml", "-sys.log"):
        file = DRIVER.match(f"{MAC}{ending}", "")
        assert file is not None
        with pytest.raises(NoSuchFile):
            DRIVER.render(file, config())


def test_the_common_file_is_the_same_for_all_devices_of_a_model() -> None:
    file = DRIVER.match("y000000000108.cfg", "")
    assert file is not None
    one = DRIVER.render(file, config("T46U", LINE, password__admin="x1"))
    token = resolve(MAC, MODELS["T46U"], [], merge([]), base_url=f"{BASE}t/0123456789abcdefghijkl/")
    assert one == DRIVER.render(file, config("T46U")) == DRIVER.render(file, token)


# --- values ----------------------------------------------------------------------------------------


def phone_reads(text: str, name: str) -> set[str]:
    """All that a phone might take a value for: blanks kept or not, quotes kept or not, %NULL% or the word."""
    written = [line.partition("=")[2] for line in text.split("\n") if line.partition("=")[0].strip() == name][-1]
    written = written.removeprefix(" ")
    readings = {written, written.strip()}
    if len(written) > 1 and written[0] == written[-1] == '"':
        readings.add(written[1:-1])
    return {"" if one == "%NULL%" else one for one in readings}


SHOWN = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40) | st.sampled_from(
    ["%NULL%", " x", "x ", '"x"', "'x'", "#x", "a = b", "=", "x\ny", "x\u2028y", "]]>", "🙂", "\u00a0x", "%null%", '"']
)


@settings(max_examples=examples(400), deadline=None)
@given(SHOWN)
def test_a_display_name_is_read_as_it_is_or_refused(name: str) -> None:
    try:
        text = device_file("T46U", Line(1, "2001", "u", "s3cret", name))
    except RenderFailed as error:
        assert "s3cret" not in str(error)
        return
    assert phone_reads(text, "account.1.display_name") == {name}
    assert text.count("\n") == device_file("T46U", LINE).count("\n")


@pytest.mark.parametrize("name", ["Ann", "Ann #1", 'Ann "the" Boss', "a = b", "x=y", "Ünï 🙂", "]]>&<", "100 %"])
def test_usual_names_are_not_refused(name: str) -> None:
    assert check_text(name) == name
    assert last(device_file("T46U", Line(1, "2001", "u", "s", name)), "account.1.display_name") == name


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}(\.[a-z0-9]{1,5}){1,3}", fullmatch=True), st.text(max_size=30), max_size=8
    )
)
def test_what_is_laid_out_is_read_back_or_refused(meant: dict[str, str]) -> None:
    try:
        text = grammar.lay_out(meant)
    except RenderFailed:
        return
    assert grammar.read(text) == meant


@given(st.text(alphabet='ab=# \t\r\n"%NUL.1', max_size=120))
def test_both_ways_of_reading_agree(text: str) -> None:
    quick = grammar._read_plain(text)
    slow = grammar._read_lines(text)
    assert quick is None or quick == slow


def test_the_last_value_wins_and_passwords_stand_once_a_user() -> None:
    text = "a.b = 1\n# a.b = 2\n  a.b=3\na.c = %NULL%\nx.user_password = y\nstatic.security.user_password = admin:1\n"
    text += "static.security.user_password = user:2\nstatic.security.user_password = admin:3\nnothing"
    assert grammar.read(text) == {
        "a.b": "3",
        "a.c": "",
        "x.user_password": "y",
        "static.security.user_password admin": "admin:3",
        "static.security.user_password user": "user:2",
    }


# --- templates -------------------------------------------------------------------------------------


def with_template(tmp_path: Path, text: str) -> Yealink:
    (tmp_path / "device.j2").write_text(text, encoding="utf-8")
    return Yealink(Templates([tmp_path, shipped("templates") / "yealink"]))


WHOLE = "#!version:1.0.0.1\n{{ settings }}\n{{ unused }}\n{{ accounts }}\n{{ keys }}\n"


def test_an_operator_s_template_may_add(tmp_path: Path) -> None:
    driver = with_template(tmp_path, WHOLE + "phone_setting.backgrounds = Config:ours.png\n")
    assert last(device_file("T46U", LINE, driver=driver), "phone_setting.backgrounds") == "Config:ours.png"


@pytest.mark.parametrize(
    "template",
    [
        "{{ settings }}\n{{ unused }}\n{{ accounts }}\n{{ keys }}\n",
        "#!version:1.0.0.1\n{{ settings }}\n{{ unused }}\n{{ keys }}\n",
        WHOLE + "account.1.enable = 0\n",
        WHOLE + "  static.wui.http_enable=1",
        WHOLE.replace("{{ accounts }}", "x = {{ accounts }}"),
        WHOLE.replace("{{ accounts }}", "{{ accounts }} # ours"),
        WHOLE.replace("{{ accounts }}", "{{ accounts | upper }}"),
        WHOLE.replace("{{ settings }}", "{{ keys }}").replace("{{ keys }}\n", "{{ settings }}\n"),
        WHOLE + "{{ accounts }}\n",
        WHOLE + "{{ missing }}",
        WHOLE + "{% if %}",
    ],
)
def test_a_template_that_changes_the_meaning_fails(tmp_path: Path, template: str) -> None:
    with pytest.raises(RenderFailed) as caught:
        device_file("T46U", LINE, driver=with_template(tmp_path, template))
    assert LINE.secret not in str(caught.value)


def test_what_is_kept_of_a_template_holds_nothing_of_a_device(tmp_path: Path) -> None:
    """A template is laid out once a shape, whatever it does with what it is given."""
    driver = with_template(tmp_path, WHOLE + "# {{ accounts[:-9] | replace('\\n', ' ') }}\n")
    others = Line(1, "2002", "u2002", "0ther-secret", "Kitchen")
    first, second = device_file("T46U", LINE, driver=driver), device_file("T46U", others, driver=driver)
    assert (last(first, "account.1.password"), last(second, "account.1.password")) == (LINE.secret, others.secret)
    assert LINE.secret not in second
    assert (
        first.replace("2001", "2002").replace("Reception", "Kitchen").replace("S3cr-et-2002", others.secret) == second
    )
    assert device_file("T46U", driver=driver).count("account.1.") == 1, "a device without lines has another shape"


def test_each_device_s_boot_file_names_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "boot.j2").write_text(
        '#!version:1.0.0.1\n{% for file in files %}\n# {{ file }}\ninclude:config "{{ file }}"\n{% endfor %}\n'
    )
    driver = Yealink(Templates([tmp_path, shipped("templates") / "yealink"]))
    for mac in (MAC, Mac("805ec0aabbcd"), Mac("805ec0aabbcc")):
        file = driver.match(f"{mac}.boot", "")
        assert file is not None
        text = driver.render(file, replace(config(), mac=mac)).decode()
        names = ["y000000000108.cfg", f"{mac}.cfg"]
        assert text.splitlines() == ["#!version:1.0.0.1", *(one for n in names for one in (f"# {n}", include(n)))]


def include(name: str) -> str:
    return f'include:config "{name}"'


# --- raw -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("account.1.dtmf.type", "2"),
        ("static.network.802_1x.mode", "1"),
        ("account.1.codec.G722_1_24kpbs.enable", "%NULL%"),
        ("features.hotline_number", ""),
    ],
)
def test_raw_parameters_that_are_fine(name: str, value: str) -> None:
    DRIVER.check_raw(name, value)
    assert last(device_file("T46U", LINE, raw={name: value}), name) == (value or "%NULL%")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "1"),
        ("plain", "1"),
        ("a.b c", "1"),
        ("a.b = 1\nc.d", "1"),
        ("#a.b", "1"),
        ("a.b", "1\naccount.1.enable = 0"),
        ("a.b", "\x00"),
        ("a.b", "x\u2028y"),
        ("a.b", " x"),
        ("a.b", '"x"'),
        ("a.b", "x" * 3000),
        ("static.security.user_password", "no-user"),
        ("a" * 200 + ".b", "1"),
    ],
)
def test_raw_parameters_that_could_break_out_are_refused(name: str, value: str) -> None:
    with pytest.raises(Invalid):
        DRIVER.check_raw(name, value)
    with pytest.raises(RenderFailed):
        device_file("T46U", LINE, raw={name: value})


@given(st.text(max_size=40), st.text(max_size=40))
def test_raw_never_breaks_out(name: str, value: str) -> None:
    try:
        DRIVER.check_raw(name, value)
    except Invalid:
        return
    text = device_file("T46U", raw={name: value})
    assert last(text, name) == (value or "%NULL%")


def test_raw_stays_away_from_the_upgrade_only_file() -> None:
    text = device_file("T46U", LINE, raw={"account.1.password": "canary"}, upgrade_only=True)
    assert "canary" not in text and "account." not in text


def test_the_order_of_raw_parameters_changes_no_byte() -> None:
    one, two = {"a.b": "1", "a.c": "2"}, {"a.c": "2", "a.b": "1"}
    assert device_file("T46U", LINE, raw=one) == device_file("T46U", LINE, raw=two)


# --- settings --------------------------------------------------------------------------------------


def test_unused_lines_are_switched_off() -> None:
    text = device_file("T46U")
    assert [last(text, f"account.{number}.enable") for number in range(1, 17)] == ["0"] * 16
    assert not re.search(r"^account\.\d+\.enable = 1$", text, re.MULTILINE)


def test_lines_beyond_the_model_s_are_left_out() -> None:
    text = device_file("T31G", LINE, Line(3, "2003", "u2003", "s3"))
    assert last(text, "account.1.enable") == "1"
    assert "2003" not in text


def test_emergency_numbers_come_first_and_without_prefix() -> None:
    rules = [{"match": "1xx", "prefix": "9"}, {"match": "x.T", "prefix": "0"}]
    text = device_file("T46U", LINE, dialplan__rules=rules, emergency__numbers=["112", "110"])
    digit_map = last(text, "dialplan.digitmap.string")
    assert digit_map is not None and digit_map.startswith("112|110|<1:91>xx|<0:00>.T")
    old = device_file("T28P", LINE, dialplan__rules=rules, emergency__numbers=["112", "110"])
    assert last(old, "dialplan.replace.prefix.1") == last(old, "dialplan.replace.replace.1") == "112"
    assert last(old, "dialplan.replace.prefix.3") == "(1xx)"
    assert last(old, "dialplan.replace.replace.3") == "9$1"


def test_a_digit_map_that_is_too_long_is_refused() -> None:
    rules = [{"match": f"x[0-9]{number}xxxxxxxxxxxxxxxxxxxx", "prefix": "9"} for number in range(40)]
    with pytest.raises(RenderFailed, match="2048"):
        device_file("T46U", LINE, dialplan__rules=rules)


def test_another_family_s_image_is_never_offered() -> None:
    assert last(device_file("T46U", firmware__version="66.86.0.15"), "static.firmware.url") is None
    assert last(device_file("T46U", firmware__version="108.86.0.15"), "static.firmware.url") == f"{BASE}108.86.0.15.rom"


@pytest.mark.parametrize("name", sorted(names()))
def test_every_time_zone_can_be_written(name: str) -> None:
    found = zone_parameters(name)
    assert re.fullmatch(r"0|[+-](1[0-4]|[0-9])(:[0-5][0-9])?", found["local_time.time_zone"])
    if found["local_time.summer_time"] == "1":
        for end in ("start", "end"):
            assert re.fullmatch(r"([1-9]|1[0-2])/[1-5]/[1-7]/([0-9]|1[0-9]|2[0-3])", found[f"local_time.{end}_time"])


def test_new_york() -> None:
    assert zone_parameters("America/New_York") == {
        "local_time.time_zone": "-5",
        "local_time.summer_time": "1",
        "local_time.dst_time_type": "1",
        "local_time.start_time": "3/2/7/2",
        "local_time.end_time": "11/1/7/2",
        "local_time.offset_time": "60",
    }


# A value other than the default for every neutral setting, and settings that only count beside others.
OTHER: dict[str, object] = {
    "sip.server": "sip1.example.net:5071", "sip.backup": "sip2.example.net", "sip.transport": "udp",
    "sip.outbound_proxy": "sbc.example.net", "sip.expiry": 777, "sip.srtp": "required", "sip.codecs": ["opus", "g729"],
    "sip.dtmf": "inband", "voicemail.number": "*97", "time.ntp": "ntp.example.net", "time.zone": "Asia/Kathmandu",
    "language": "fr-FR", "password.admin": "adm1n", "password.user": "us3r", "web.access": "https", "net.vlan": 20,
    "net.lldp": False, "net.cdp": True, "net.dot1x.mode": "peap", "net.dot1x.identity": "id",
    "net.dot1x.password": "pw",
    "syslog.server": "198.51.100.9", "syslog.level": 2, "keys": [{"position": 1, "kind": "park", "value": "*5"}],
    "dialplan.rules": [{"match": "0x.", "prefix": "9"}], "dialplan.timeout": 9, "emergency.numbers": ["999"],
    "hotline.number": "9000", "hotline.delay": 3, "phonebook.url": "https://b.example.net/x", "phonebook.name": "All",
    "poll.enabled": False, "poll.period": 7200, "poll.from": "02:30", "poll.to": "03:30", "storm.retry_delay": 77,
    "storm.retry_attempts": 7, "firmware.version": "108.86.0.1", "firmware.url": "https://f.example.net/x.rom",
    "ca.custom": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "log.upload": True,
    "activation": True, "activation.emergency": "sos.example.net",
}  # fmt: skip
BESIDE: dict[str, dict[str, object]] = {
    "sip.backup": {"sip.server": "sip1.example.net"},
    "sip.expiry": {"sip.server": "sip1.example.net"},
    "net.dot1x.identity": {"net.dot1x.mode": "md5"},
    "net.dot1x.password": {"net.dot1x.mode": "md5"},
    "syslog.level": {"syslog.server": "198.51.100.9"},
    "phonebook.name": {"phonebook.url": "https://b.example.net/x"},
}


@pytest.mark.parametrize("model", ["T46U", "T28P", "W70B", "W52P", "CP960", "AX86R"])
@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_neutral_setting_changes_the_file_or_is_refused_with_a_reason(name: str, model: str) -> None:
    value = OTHER.get(name)
    if name == "firmware.version":
        value = f"{MODELS[model].firmware_family or '1'}.86.0.1"
    beside = BESIDE.get(name, {})
    plain = device_file(model, LINE, **beside)
    if name in MODELS[model].refuses:
        assert len(MODELS[model].refuses[name]) > 10
        if value is not None:
            assert device_file(model, LINE, **beside, **{name: value}) == plain
        return
    assert value is not None, "a new setting: give it a value in OTHER"
    changed = device_file(model, LINE, **beside, **{name: value}) != plain
    assert changed is not SETTINGS[name].policy, "a policy is for the server, everything else for the phone"


# --- names of parameters ---------------------------------------------------------------------------


def test_every_parameter_name_is_known_or_has_its_own_source() -> None:
    known = set((HERE / "known" / "yealink.txt").read_text(encoding="utf-8").split())
    own = tomllib.loads((HERE / "known" / "yealink-own.toml").read_text(encoding="utf-8"))
    everything = {**OTHER, "poll.enabled": True}
    emitted: set[str] = {"overwrite_mode"}
    for model in MODELS:
        for values in (everything, {**everything, "poll.period": 86400}, {}):
            text = device_file(model, LINE, **values)
            emitted |= {
                re.sub(r"(?<=\.)[0-9]+(?=\.|$)", "N", one) for one in re.findall(r"^([^#\s]+) = ", text, re.MULTILINE)
            }
    assert len(emitted) > 100
    assert emitted - known - set(own) == set()
    assert set(own) <= emitted and not set(own) & known
