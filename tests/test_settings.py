from pathlib import Path

import pytest

from provisioner.errors import Unusable
from provisioner.installation import settings_text
from provisioner.settings import Settings, knobs, load


def test_the_file_is_read_and_the_environment_overrides_it(tmp_path):
    (tmp_path / "provisioner.toml").write_text('[device]\nport = 9443\n[legacy]\nmodels = ["SoundPoint IP 331"]\n')
    settings = load(tmp_path, {"PROVISIONER_DEVICE_PORT": "10443", "PROVISIONER_DIGEST_ENABLED": "true", "HOME": "/x"})
    assert settings.device_port == 10443
    assert settings.legacy_models == ("SoundPoint IP 331",)
    assert settings.digest_enabled is True
    assert settings.data == tmp_path


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[device]\nprot = 1\n", "device.prot"),
        ("device = 1\n", "table"),
        ("[device]\nport = 70000\n", "65535"),
        ('[device]\nport = "x"\n', "device.port"),
        ("[digest]\nenabled = 3\n", "true or false"),
        ("[store]\npoll = 5.0\n", "store.poll"),
        ("[device\n", "TOML"),
        ("[server]\nname = 5\n", "text"),
    ],
)
def test_a_wrong_file_is_refused_with_the_name_of_what_is_wrong(tmp_path, text, word):
    (tmp_path / "provisioner.toml").write_text(text)
    with pytest.raises(Unusable, match=word):
        load(tmp_path, {})


def test_a_list_in_the_environment_is_its_words_with_commas(tmp_path):
    given = {"PROVISIONER_ADMISSION_ANSWERS": "poly/vvx=p2, yealink/*=", "PROVISIONER_GATE_NAMES": ""}
    settings = load(tmp_path, given)
    assert (settings.admission_answers, settings.gate_names) == (("poly/vvx=p2", "yealink/*="), ())


@pytest.mark.parametrize("text", ['["polycom/vvx=p2"]', '"a","b"', "[a]", "'a'"])
def test_a_list_as_the_file_has_it_is_refused_in_the_environment_with_the_right_spelling(tmp_path, text):
    with pytest.raises(Unusable, match=r"admission\.answers.*a,b in the environment, without brackets or quotes"):
        load(tmp_path, {"PROVISIONER_ADMISSION_ANSWERS": text})


def test_what_is_no_list_at_all_is_refused_with_its_spelling(tmp_path):
    (tmp_path / "provisioner.toml").write_text("[gate]\nnames = 5\n")
    with pytest.raises(Unusable, match=r'gate\.names = 5: a list is \["a", "b"\] in provisioner\.toml'):
        load(tmp_path, {})


def test_a_header_that_was_pasted_into_the_file_of_init_is_told_with_both_lines(tmp_path):
    text = settings_text()
    own = text.splitlines().index("[ivr]") + 1
    pasted = f"{text}\n[ivr]  # ours\nport = 5060\n"
    (tmp_path / "provisioner.toml").write_text(pasted)
    second = pasted.splitlines().index("[ivr]  # ours") + 1
    with pytest.raises(Unusable) as refused:
        load(tmp_path, {})
    said = refused.value.cause
    assert f"line {own} is [ivr]" in said and f"so is line {second}" in said and "Cannot declare" not in said
    lines = pasted.splitlines()
    moved = [*lines[:own], *lines[second:], *lines[own : second - 1]]  # as it says
    (tmp_path / "provisioner.toml").write_text("\n".join(moved))
    assert load(tmp_path, {}).ivr_port == 5060


@pytest.mark.parametrize(("name", "bounds"), [("gate.slots", "1 to 16"), ("gate.unknown", "0.01 to 0.9")])
def test_the_reference_says_how_far_a_setting_goes(name, bounds):
    page = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
    (row,) = [line for line in page.read_text("utf-8").splitlines() if line.startswith(f"| `{name}` |")]
    assert f"| {bounds} |" in row


def test_every_setting_says_unit_and_why_and_its_default_is_within_its_bounds():
    for name, knob in knobs():
        assert knob.metadata["unit"], name
        assert len(knob.metadata["why"]) > 10, name
        if knob.metadata["low"] is not None:
            assert knob.metadata["low"] <= knob.default <= knob.metadata["high"], name


def test_sqlite_below_the_data_directory_is_the_default_store(tmp_path):
    assert Settings(data=tmp_path).database_url == f"sqlite+aiosqlite:///{tmp_path}/provisioner.db"
