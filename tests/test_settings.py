import pytest

from provisioner.errors import Unusable
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


def test_every_setting_says_unit_and_why_and_its_default_is_within_its_bounds():
    for name, knob in knobs():
        assert knob.metadata["unit"], name
        assert len(knob.metadata["why"]) > 10, name
        if knob.metadata["low"] is not None:
            assert knob.metadata["low"] <= knob.default <= knob.metadata["high"], name


def test_sqlite_below_the_data_directory_is_the_default_store(tmp_path):
    assert Settings(data=tmp_path).database_url == f"sqlite+aiosqlite:///{tmp_path}/provisioner.db"
