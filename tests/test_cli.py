"""The command line as a shell sees it: what it prints, where, and with which exit code."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from provisioner.cli.main import SECTIONS, cli
from provisioner.doctor import CHECKS
from provisioner.neutral import SETTINGS

Run = Callable[..., Result]
Asked = Callable[..., Any]
MAC = "0004f2aabbcc"
SECRET = "correct-horse-7"


# --- shape ------------------------------------------------------------------------------------------


def commands(group: click.Group, *words: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found += commands(command, *words, name) if isinstance(command, click.Group) else [(*words, name)]
    return found


@pytest.mark.parametrize("words", commands(cli), ids=" ".join)
def test_every_command_explains_itself_and_takes_the_shared_options(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.stdout
    assert "--data" in result.stdout
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert command.help
    assert all(one.help for one in command.params if isinstance(one, click.Option) and not one.hidden)


def test_table_of_contents_lists_every_command() -> None:
    listed = {word for section in SECTIONS.values() for word in section}
    assert {word: command.name for word, command in cli.commands.items()} == {word: word for word in listed}
    shown = re.findall(r"^  ([a-z][a-z-]+)  +[A-Z]", CliRunner().invoke(cli, ["--help"]).stdout, re.MULTILINE)
    assert sorted(shown) == sorted(listed)
    inventory = {"account", "site", "user", "extension", "device", "token"}
    assert inventory | {"layer", "render", "diff", "certs", "events", "db", "init", "serve", "doctor"} <= listed
    assert {"demo", "simulate"} <= listed


def test_data_may_stand_anywhere_and_in_the_environment(data: Path) -> None:
    for words in (["--data", str(data), "account", "list"], ["account", "--data", str(data), "list"]):
        assert CliRunner().invoke(cli, words).exit_code == 0
    assert CliRunner().invoke(cli, ["account", "list", "--data", str(data)]).exit_code == 0
    assert CliRunner(env={"PROVISIONER_DATA": str(data)}).invoke(cli, ["account", "list"]).exit_code == 0


# --- errors -----------------------------------------------------------------------------------------


def test_refusals_are_one_line_on_stderr_and_exit_code_1(run: Run, office: None) -> None:
    taken = run("account", "add", "Example Ltd", code=1)
    assert taken.stdout == ""
    assert taken.stderr.count("\n") == 1
    assert "Example Ltd" in taken.stderr
    assert "0004f2000001" in run("device", "show", "0004f2000001", code=1).stderr.replace(":", "")
    run("layer", "set", "device", MAC, "sip.expiry=5", code=1)
    run("device", "bind", MAC, "99", "--extension", "1001", code=1)


def test_refusals_in_json_say_what_kind_and_which_field(run: Run, office: None) -> None:
    error = json.loads(run("layer", "set", "device", MAC, "sip.expiry=5", "--json", code=1).stderr)["error"]
    assert error["kind"] == "invalid"
    assert error["field"] == "sip.expiry"
    assert "60" in error["cause"]


@pytest.mark.parametrize(
    "words",
    [
        ["frobnicate"],
        ["device", "add"],
        ["device", "show", "nonsense"],
        ["layer", "set", "planet", "mars", "a=b"],
        ["layer", "set", "defaults"],
        ["layer", "set", "defaults", "no-equals-sign"],
        ["events", "--limit", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(run: Run, words: list[str]) -> None:
    result = run(*words, code=2)
    assert "Usage:" in result.stderr
    assert result.stdout == ""


def test_no_installation_is_exit_code_2_and_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["--data", str(tmp_path / "none"), "device", "list"])
    assert result.exit_code == 2
    assert "provisioner init" in result.stderr


def test_an_unusable_installation_is_exit_code_2(run: Run, data: Path) -> None:
    (data / "master.key").unlink()
    assert "master.key" in run("account", "list", code=2).stderr
    (data / "provisioner.toml").write_text("[server\n")
    assert "TOML" in run("account", "list", code=2).stderr


def test_a_fault_of_the_program_is_exit_code_3_without_traceback(data: Path, tmp_path: Path) -> None:
    """A broken part is put in the program's way, in a process of its own."""
    program = "import provisioner.cli.main as c, provisioner.fleet.fleet as f; f.Fleet.accounts = None; c.main()"
    command = [sys.executable, "-c", program, "--data", str(data), "account", "list"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "Internal error: TypeError" in done.stderr
    assert "Traceback" not in done.stderr
    loud = {**os.environ, "PROVISIONER_TRACEBACK": "1"}
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=loud)
    assert told.returncode == 3
    assert "Traceback" in told.stderr


def test_python_m_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "provisioner", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("provisioner, version ")


HEAVY = {"OpenSSL", "aiohttp", "aiosmtplib", "alembic", "argon2", "prometheus_client", "pydantic", "segno"}
NEEDLESS = {
    "--version": HEAVY | {"cryptography", "jinja2", "lxml", "rich", "sqlalchemy"},
    "account list --json": HEAVY | {"rich"},
    "device list": HEAVY,
    "events": HEAVY,
    "serve --help": HEAVY | {"lxml", "sqlalchemy"},
}
"""What a command must not load: tenths of a second each."""


@pytest.mark.parametrize("words", NEEDLESS)
def test_no_command_waits_for_what_only_others_need(data: Path, words: str) -> None:
    program = (
        "import sys; from provisioner.cli.main import cli\n"
        "try: cli(prog_name='provisioner')\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, "--data", str(data), *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert NEEDLESS[words] & set(done.stderr.split()) == set()


# --- init and doctor --------------------------------------------------------------------------------


def test_init_makes_an_installation_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = CliRunner().invoke(cli, ["--data", str(data), "init", "--name", "prov.example.net", "--json"])
    assert first.exit_code == 0, first.output
    assert len(json.loads(first.stdout)["made"]) == 5
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / "master.key").stat().st_mode & 0o777 == 0o600
    assert 'name = "prov.example.net"' in (data / "provisioner.toml").read_text()
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file() and ".db" not in path.name}
    again = CliRunner().invoke(cli, ["--data", str(data), "init", "--json"])
    assert json.loads(again.stdout)["made"] == []
    assert before == {path: path.read_bytes() for path in before}


def test_init_does_not_replace_a_lost_key(run: Run, data: Path) -> None:
    (data / "master.key").unlink()
    assert "put the key back" in run("init", code=2).stderr
    assert not (data / "master.key").exists()


def test_init_does_not_replace_half_of_the_certificates(run: Run, data: Path) -> None:
    (data / "tls" / "server-ec.pem").unlink()
    assert "server-ec.pem" in run("init", code=2).stderr


def test_init_refuses_a_name_that_is_none(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["--data", str(tmp_path / "data"), "init", "--name", "not a name"])
    assert result.exit_code == 1
    assert "name:" in result.stderr


def test_every_line_of_the_new_settings_file_is_a_setting(data: Path) -> None:
    """Uncommented, the file means the same: the defaults are written as TOML reads them."""
    from provisioner.settings import load

    path = data / "provisioner.toml"
    path.write_text(re.sub(r"^# (?=[a-z_]+ = )", "", path.read_text(), flags=re.MULTILINE))
    filled = load(data, {})
    path.write_text('[server]\nname = "prov.example.net"\n')
    assert filled == load(data, {})


def findings(result: Any) -> dict[str, set[str]]:
    states: dict[str, set[str]] = {}
    for one in result:
        states.setdefault(one["check"], set()).add(one["state"])
    return states


def test_doctor_finds_nothing_wrong_with_a_new_installation(asked: Asked, data: Path) -> None:
    (data / "provisioner.toml").write_text("[device]\nport = 0\n[bootstrap]\nport = 0\n[admin]\nport = 0\n")
    states = findings(asked("doctor"))
    assert "fail" not in set().union(*states.values())
    assert {"settings", *CHECKS} == set(states)


@pytest.mark.parametrize(
    ("check", "harm"),
    [
        ("key", lambda data: (data / "master.key").unlink()),
        ("key", lambda data: (data / "master.key").chmod(0o644)),
        ("database", lambda data: (data / "provisioner.db").unlink()),
        ("certificates", lambda data: (data / "tls" / "server-rsa.pem").write_text("nonsense")),
        ("templates", lambda data: (data / "templates" / "poly" / "x.j2").write_text("{% if %}")),
        ("templates", lambda data: (data / "templates" / "yealink" / "device.j2").write_text("{{ nosuch }}")),
        ("trust", lambda data: (data / "trust" / "trust.toml").write_text("[[ca]]\n")),
        ("clock", lambda data: os.utime(data / "provisioner.toml", (4e9, 4e9))),
        ("alarms", lambda data: (data / "provisioner.toml").write_text('[trap]\nreceivers = ["inform://127.0.0.1"]\n')),
        ("settings", lambda data: (data / "provisioner.toml").write_text("[server]\nnmae = 1\n")),
    ],
)
def test_doctor_finds_what_is_wrong(asked: Asked, data: Path, check: str, harm: Callable[[Path], object]) -> None:
    harm(data)
    assert "fail" in findings(asked("doctor", code=1))[check]


def test_doctor_warns_of_open_doors(asked: Asked, data: Path) -> None:
    data.chmod(0o755)
    assert findings(asked("doctor", code=0))["directory"] == {"warn"}


# --- use-cases ----------------------------------------------------------------------------------------


def test_an_office_from_nothing(asked: Asked, run: Run, office: None) -> None:
    device = asked("device", "show", MAC)
    assert (device["vendor"], device["model"], device["state"]) == ("poly", "VVX 411", "assigned")
    account = asked("account", "list")[0]
    assert device["account"] == account["id"]
    assert asked("device", "list", "--account", account["id"]) == asked("device", "list", "--account", "Example Ltd")
    table = run("device", "list").stdout
    assert "00:04:f2:aa:bb:cc" in table
    assert "Example Ltd" in table


def test_secrets_are_told_only_on_demand_and_that_is_an_event(asked: Asked, run: Run, office: None) -> None:
    run("layer", "set", "account", "Example Ltd", "password.admin=hunter2222")
    quiet = [
        run("extension", "list").output,
        run("extension", "list", "--json").output,
        run("layer", "show", "account", "Example Ltd").output,
        run("layer", "show", "account", "Example Ltd", "--json").output,
        run("render", MAC).output,
        run("render", MAC, "--json").output,
        run("render", MAC, "--explain").output,
        run("render", MAC, "--explain", "--json").output,
        run("diff", MAC).output,
        run("events", "--json").output,
    ]
    assert [one for one in quiet if SECRET in one or "hunter2222" in one] == []
    assert run("extension", "reveal", "1001").stdout == f"{SECRET}\n"
    assert SECRET in run("render", MAC, "--reveal").stdout
    kinds = [one["kind"] for one in asked("events")]
    assert "secret_revealed" in kinds
    assert "secrets_revealed" in kinds


def test_a_secret_may_come_from_stdin(run: Run, office: None) -> None:
    run("extension", "set-secret", "1001", "--secret", "-", text="typed-in-secret-1\n")
    assert run("extension", "reveal", "1001").stdout == "typed-in-secret-1\n"


def test_layer_settings_lists_them_all(asked: Asked) -> None:
    listed = {one["name"]: one for one in asked("layer", "settings")}
    assert set(listed) == set(SETTINGS)
    assert listed["sip.expiry"]["default"] == "600"
    assert listed["sip.expiry"]["unit"] == "s"


def test_layer_values_come_as_words_json_and_toml(asked: Asked, run: Run, office: None, tmp_path: Path) -> None:
    keys = '[{"position": 2, "kind": "blf", "value": "1002"}]'
    run("layer", "set", "device", MAC, f"keys={keys}", "sip.server=[2001:db8::1]:5070", "net.vlan=42")
    (tmp_path / "more.toml").write_text('language = "de-DE"\n[time]\nntp = "ntp.example.net"\n')
    run("layer", "set", "defaults", "--file", str(tmp_path / "more.toml"))
    values = {one["name"]: one for one in asked("render", MAC, "--explain")}
    assert values["keys"]["value"][0]["value"] == "1002"
    assert values["sip.server"]["value"] == {"host": "2001:db8::1", "port": 5070}
    assert values["net.vlan"]["value"] == 42
    assert (values["language"]["value"], values["language"]["scope"]) == ("de-DE", "defaults")
    assert values["time.ntp"]["value"] == "ntp.example.net"


def test_explain_says_who_set_a_value_and_what_that_overrode(asked: Asked, run: Run, office: None) -> None:
    run("layer", "set", "defaults", "sip.expiry=300")
    run("layer", "set", "account", "Example Ltd", "sip.expiry=900")
    run("layer", "set", "device", MAC, "sip.expiry=1200")
    found = next(one for one in asked("render", MAC, "--explain") if one["name"] == "sip.expiry")
    assert (found["value"], found["scope"], found["key"]) == (1200, "device", MAC)
    assert found["overrode"] == ["account: 900", "defaults: 300"]
    run("layer", "unset", "device", MAC, "sip.expiry")
    found = next(one for one in asked("render", MAC, "--explain") if one["name"] == "sip.expiry")
    assert (found["value"], found["scope"]) == (900, "account")


def test_render_prints_one_file_or_says_which_there_are(asked: Asked, run: Run, office: None) -> None:
    names = [one["name"] for one in asked("render", MAC)]
    assert f"{MAC}-user.cfg" in names
    assert run("render", MAC, f"{MAC}-user.cfg").stdout.startswith("<?xml")
    refused = run("render", MAC, "nonsense.cfg", code=1)
    assert f"{MAC}-user.cfg" in refused.stderr
    run("render", MAC, "0004f2000001-user.cfg", code=1)


def test_diff_before_the_first_fetch(asked: Asked, office: None) -> None:
    assert {one["state"] for one in asked("diff", MAC)} == {"never fetched"}


def test_tokens_open_for_devices_that_may(asked: Asked, run: Run, office: None) -> None:
    assert "device allow" in run("token", "open", MAC, code=1).stderr
    run("device", "allow", MAC, "--token")
    url = asked("token", "open", MAC, "--window", "600", "--fetches", "9")["url"]
    assert url.startswith("https://prov.example.net:8443/t/")
    token = url.rstrip("/").rpartition("/")[2]
    listed = run("token", "list", MAC, "--json")
    assert token not in listed.stdout
    assert json.loads(listed.stdout)[0]["budget"] == 9
    run("token", "revoke", MAC)
    assert asked("token", "list", MAC)[0]["revoked"] is True


def test_a_key_of_an_alarm_is_accepted_and_a_pin_forgotten(asked: Asked, run: Run, data: Path, office: None) -> None:
    pinned, came, other = "aa" * 32, "bb" * 32, "cc" * 32
    with contextlib.closing(sqlite3.connect(data / "provisioner.db")) as database, database:
        database.execute("INSERT INTO pin (mac, spki, not_after, at) VALUES (?, ?, '', 1000)", (MAC, pinned))
        for key in (came, other):
            values = (MAC, json.dumps({"came": key, "pinned": pinned}))
            database.execute(
                "INSERT INTO event (at, kind, mac, severity, actor, audit, details)"
                " VALUES (2000, 'pin_mismatch', ?, 'alarm', 'device', 0, ?)",
                values,
            )
    refused = run("device", "accept-pin", MAC, code=1).stderr
    assert came in refused
    assert other in refused
    assert asked("device", "accept-pin", MAC, "--key", came[:16])["pinned"] == came
    assert asked("device", "show", MAC)["pinned"] == came
    assert asked("device", "forget-pin", MAC)["pinned"] == ""
    assert "no key is pinned" in run("device", "forget-pin", MAC, code=1).stderr


def test_a_factory_ca_is_trusted_and_untrusted(asked: Asked, run: Run, tmp_path: Path) -> None:
    from provisioner.pki import make_factory

    factory = make_factory("yealink", tmp_path / "factory")
    assert [one["state"] for one in asked("certs", "show", str(factory.root_pem))] == ["known"]
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(factory.leaf("001565aabbcc")[0])
    assert "not a CA" in asked("certs", "show", str(leaf))[0]["role"]
    run("certs", "trust", "--vendor", "nobody", str(factory.cas_pem), code=1)
    added = asked("certs", "trust", "--vendor", "yealink", str(factory.cas_pem))
    assert len(added) == 3
    known = asked("certs", "list", "--vendor", "yealink")
    assert {one["state"] for one in known if one["origin"] == "operator"} == {"trusted"}
    assert "demo CAs are trusted" in run("doctor").stdout
    run("certs", "untrust", added[0]["fingerprint"][:16])
    run("certs", "untrust", "not-a-fingerprint", code=1)
    assert "der" not in asked("certs", "list")[0]


def test_certs_check_says_what_expires(run: Run) -> None:
    assert run("certs", "check").exit_code == 0


def test_database_version(asked: Asked, data: Path, run: Run) -> None:
    assert asked("db", "upgrade")["changed"] is False
    (data / "provisioner.db").unlink()
    asked("db", "status", code=1)
    assert asked("db", "upgrade")["changed"] is True
    assert asked("db", "status")["version"] == asked("db", "status")["needed"]


@pytest.mark.slow
def test_the_master_key_is_exchanged(asked: Asked, run: Run, data: Path, office: None) -> None:
    key = data / "master.key"
    old = key.read_text()
    done = run("db", "rotate-key")
    assert "made a new key; " in done.stdout and "the old key is gone" in done.stdout
    assert key.read_text() != old and len(key.read_text().split()) == 1
    assert old.strip() not in done.output and key.read_text().strip() not in done.output
    run("device", "allow", MAC, "--token")
    run("token", "open", MAC)
    told = run("db", "rotate-key", code=1)
    assert "token URLs opened before still work: 1, the last until 20" in told.stdout
    assert any("2 keys" in one["says"] for one in asked("doctor") if one["check"] == "key" and one["state"] == "warn")
    ended = asked("db", "rotate-key", "--revoke-tokens")
    assert ended["finished"] and not ended["new_key"] and ended["unreadable"] == []
    run("extension", "reveal", "1001")


def test_firmware_is_listed_with_its_hash(asked: Asked, run: Run, tmp_path: Path) -> None:
    image = tmp_path / "3111-48450-001.sip.ld"
    image.write_bytes(b"image")
    run("firmware", "add", "nobody", str(image), code=1)
    run("firmware", "add", "poly", str(image))
    (listed,) = asked("firmware", "list")
    assert listed["name"] == image.name
    assert listed["sha256"] == "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d"


def test_what_was_added_can_be_removed_in_turn(run: Run, asked: Asked, office: None) -> None:
    run("account", "remove", "Example Ltd", code=1)
    run("device", "unbind", MAC, "1")
    run("device", "revoke", MAC)
    assert asked("device", "show", MAC)["state"] == "revoked"
    run("device", "restore", MAC)
    run("device", "remove", MAC)
    run("extension", "remove", "1001")
    run("user", "remove", "Ada Byron")
    run("site", "remove", "Head Office")
    run("account", "remove", "Example Ltd")
    assert asked("account", "list") == []


def test_markup_in_a_name_is_only_text(run: Run) -> None:
    run("account", "add", "[bold]Name[/bold] \N{BLACK TELEPHONE}")
    assert "[bold]Name[/bold]" in run("account", "list").stdout
