"""`provisioner simulate storm` as a newcomer tries it: a demonstration's data, a real server, and the command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from house import House, administer, soon

from provisioner import settings, storm_cast, storm_server
from provisioner.cli.main import cli
from provisioner.counters import totals
from provisioner.demo import demo
from provisioner.errors import Invalid, Unusable
from provisioner.model import Mac

ARGUMENTS = ("--phones", "60", "--sites", "6", "--spread", "1", "--capacity", "100")

pytestmark = pytest.mark.slow  # storms of real phones at a real server, ended in every way


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("storm") / "data")
    demo.prepare(house.data)
    house.start()
    try:
        yield house
    finally:
        house.stop()


def simulate(house: House, *arguments: str, expect: int = 0) -> Result:
    done = CliRunner().invoke(cli, ["--data", str(house.data), "simulate", "storm", *arguments])
    assert done.exit_code == expect, (done.output, done.exception)
    return done


def test_sixty_phones_come_back_and_the_next_storm_uses_them_again(staged: House, tmp_path: Path) -> None:
    done = simulate(staged, *ARGUMENTS, "--json", "--plots", str(tmp_path / "plots"))
    report = json.loads(done.stdout)
    assert (report["phones"], report["back"], report["wrong_bodies"]) == (60, 60, 0)
    assert done.stderr == ""  # nobody looks on
    assert report["t100"] >= report["t99"] >= report["t50"] > 0
    assert report["ideal"] == 1.0
    assert len(report["sites"]) == 6
    assert report["sites"][report["nat"]]["phones"] == 15
    assert (tmp_path / "plots" / "back.svg").is_file()
    cards = {path: path.stat().st_mtime_ns for path in (staged.data / "demo" / "storm").iterdir()}
    events = administer(staged, lambda fleet: fleet.events(limit=10_000))
    again = simulate(staged, "--phones", "40", "--sites", "2", "--spread", "0.5", "--no-retry")
    assert "40, 40 of them back" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in cards} == cards
    made = {one.kind for one in administer(staged, lambda fleet: fleet.events(limit=10_000, after=events[-1].id))}
    assert not made & {"device_added", "extension_added", "line_bound"}


def test_a_rate_and_a_closed_loop_against_the_server(staged: House) -> None:
    rate = json.loads(simulate(staged, "--phones", "10", "--rate", "10", "--seconds", "1", "--json").stdout)
    assert (rate["mode"], rate["phones"], rate["back"]) == ("rate", 10, 10)
    closed = json.loads(simulate(staged, "--phones", "20", "--together", "2", "--seconds", "1", "--json").stdout)
    assert closed["mode"] == "closed"
    assert closed["back"] == closed["phones"] > 2


def test_a_lost_key_makes_new_certificates_and_the_old_pin_is_forgotten(staged: House) -> None:
    many = str(storm_cast.KEYS + 4)
    simulate(staged, "--phones", many, "--spread", "0")
    second = storm_cast.extras(2)[1].mac
    assert soon(lambda: administer(staged, lambda fleet: fleet.device(second)).pinned, 10)
    (staged.data / "demo" / "storm" / "key-01.pem").unlink()
    done = simulate(staged, "--phones", "4", "--spread", "0", "--no-retry")
    assert "4, 4 of them back" in done.stdout
    # Another phone has the same key, and was not wanted when it was made anew.
    assert f"{many}, {many} of them back" in simulate(staged, "--phones", many, "--spread", "0", "--no-retry").stdout


def test_preparations_that_were_broken_off_are_gone_on_with(staged: House, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(staged, "--phones", "4", "--spread", "0")
    second = storm_cast.extras(2)[1].mac
    assert soon(lambda: administer(staged, lambda fleet: fleet.device(second)).pinned, 10)
    (staged.data / "demo" / "storm" / "key-01.pem").unlink()

    async def enlist(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(storm_cast, "_enlist", enlist)
        simulate(staged, "--phones", "4", "--spread", "0", expect=130)
    done = simulate(staged, "--phones", "4", "--spread", "0", "--no-retry")
    assert "4, 4 of them back" in done.stdout


def test_a_device_that_somebody_revoked_or_unbound_is_put_right(staged: House) -> None:
    simulate(staged, "--phones", "4", "--spread", "0")
    first, second = [one.mac for one in storm_cast.extras(2)]

    async def meddle(fleet: object) -> None:
        await fleet.revoke_device(first)  # type: ignore[attr-defined]  # a Fleet
        await fleet.unbind(second, 1)  # type: ignore[attr-defined]  # a Fleet

    administer(staged, meddle)
    assert "4, 4 of them back" in simulate(staged, "--phones", "4", "--spread", "0", "--no-retry").stdout


# --- stopped ----------------------------------------------------------------------------------------------


class Running:
    """The command as a process of its own, and the processes of its crowd."""

    def __init__(self, house: House, *arguments: str) -> None:
        command = [sys.executable, "-m", "provisioner", "--data", str(house.data), "simulate", "storm", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.crowd: list[int] = []

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in (self.process.pid, *self.crowd):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate(timeout=10)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for it, and remember who plays by then."""
        met = soon(lambda: self.process.poll() is not None or condition(), 30)
        assert met, "nothing happened"
        assert self.process.poll() is None, self.process.communicate()
        self.crowd = _children(self.process.pid)
        assert self.crowd

    def ended(self, patience: float = 20.0) -> tuple[int, str, str]:
        out, told = self.process.communicate(timeout=patience)
        return self.process.returncode, out, told

    def left(self) -> list[int]:
        """Those of its processes that still run."""
        return [pid for pid in self.crowd if _state(pid) not in ("", "Z")]


def _children(pid: int) -> list[int]:
    found = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(one) for some in found for one in some]


def _state(pid: int) -> str:
    """One letter; empty when there is no such process. A zombie has ended: who inherits it is no matter of ours."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _begun(house: House) -> float:
    """Handshakes that the server has begun until now."""
    return sum(
        value for (name, _), value in totals(house.data / "run" / "metrics").items() if name == "gate_begun_total"
    )


def _booting(house: House) -> Callable[[], bool]:
    before = _begun(house)
    return lambda: _begun(house) > before + 2


LONG = ("--phones", "40", "--sites", "4", "--spread", "60")


@pytest.mark.parametrize(
    ("number", "code", "as_json", "group"),
    [(signal.SIGINT, 130, False, True), (signal.SIGINT, 130, True, False), (signal.SIGTERM, 143, True, False)],
    ids=["Ctrl-C", "SIGINT in JSON", "SIGTERM in JSON"],
)
def test_a_signal_ends_a_storm_with_a_report_and_all_its_processes(
    staged: House, number: signal.Signals, code: int, as_json: bool, group: bool
) -> None:
    with Running(staged, *LONG, *(["--json"] if as_json else [])) as storm:
        storm.until(_booting(staged))
        (os.killpg if group else os.kill)(storm.process.pid, number)
        returned, out, told = storm.ended()
        assert (returned, told, storm.left()) == (code, "", [])
    if as_json:
        report = json.loads(out)
        assert 0 < report["stopped_after"] < 60
        assert 0 < report["back"] < report["phones"] == 40
    else:
        assert out.startswith("STOPPED EARLY, after ")
        assert "of them back" in out


def test_a_second_ctrl_c_ends_it_at_once(staged: House) -> None:
    with Running(staged, *LONG) as storm:
        storm.until(_booting(staged))
        for pid in storm.crowd:
            os.kill(pid, signal.SIGSTOP)  # they can tell nothing, and are waited for
        storm.process.send_signal(signal.SIGINT)
        time.sleep(1.0)
        assert storm.process.poll() is None
        began = time.monotonic()
        storm.process.send_signal(signal.SIGINT)
        returned, out, told = storm.ended()
        assert time.monotonic() - began < 5
        assert (returned, out) == (130, "")
        assert told.startswith("stopped; there is nothing to report. Phones added to account Storm so far stay")
        assert storm.left() == []


def test_a_storm_that_is_killed_takes_its_processes_along(staged: House) -> None:
    with Running(staged, *LONG) as storm:
        storm.until(_booting(staged))
        storm.process.kill()
        assert storm.ended()[0] == -signal.SIGKILL
        assert soon(lambda: not storm.left(), 10)


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_signal_before_the_storm_ends_the_preparations(
    staged: House, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    async def prepare(*_: object) -> None:
        await asyncio.sleep(0)
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it went on")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(storm_cast, "prepare", prepare)
    done = simulate(staged, "--phones", "4", *(["--json"] if as_json else []), expect=143)
    assert signal.getsignal(signal.SIGTERM) is before
    assert done.stdout == ""
    assert "nothing to report" in done.stderr
    if as_json:
        assert json.loads(done.stderr)["error"]["kind"] == "stopped"


# --- what the server is told and tells ------------------------------------------------------------------


def test_everyone_boots_once_before_so_that_the_server_knows_them(
    staged: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("provisioner.cli.simulate._wait", waited.append)
    time.sleep(1.2)  # counts of the test before are written with the next beats
    before = _begun(staged)
    few = ("--phones", "6", "--sites", "2", "--spread", "0", "--known", "--json")
    report = json.loads(simulate(staged, *few).stdout)
    assert (report["phones"], report["back"]) == (6, 6)
    assert _begun(staged) - before == 12
    assert waited in ([storm_server.LEARNT], []), "none when an earlier test has made them known"
    assert report["server"]["storm_mode"] is None
    assert 0 <= report["server"]["known"] <= 1


def test_who_does_not_come_up_on_a_quiet_day_causes_no_storm(staged: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storm_cast, "ca_file", lambda data: data / "demo" / "poly" / "cas.pem")
    monkeypatch.setattr("provisioner.simulator.storm_plan._CALM_LONGEST", 1.0)
    done = simulate(staged, "--phones", "2", "--known", expect=1)
    assert "there was no storm" in done.stderr
    assert "distrusts_server" in done.stdout


def test_each_thing_that_is_missing_is_named_with_the_remedy(tmp_path: Path, data: Path) -> None:
    nothing = settings.load(data)
    call = storm_cast.Call(10, 3, 0)
    with pytest.raises(Unusable, match=r"no server runs.*provisioner demo"):
        asyncio.run(storm_cast.prepare(nothing, call, print))


def test_a_server_without_demo_factories_is_told_what_makes_them(data: Path) -> None:
    house = House(data)
    house.start()
    try:
        done = simulate(house, "--phones", "4", expect=2)
    finally:
        house.stop()
    assert "no demo factory for poly" in done.stderr
    assert "provisioner demo --data" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--phones", "0"), "--phones: must be 1 to"),
        (("--phones", "many"), "'--phones': 'many' is not a valid integer"),
        (("--spread", "-1"), "--spread: must be 0 s"),
        (("--spread", "nan"), "--spread: must be 0 s"),
        (("--patience", "0"), "--patience: must be more than 0 s"),
        (("--retry", "inf"), "--retry: must be more than 0 s and at most a day"),
        (("--jitter", "1"), "--jitter: must be 0 to less than 1"),
        (("--seconds", "0"), "--seconds: must be more than 0 s"),
        (("--processes", "0"), "--processes: must be 1 to"),
        (("--sites", "0"), "--sites: must be 1 to"),
        (("--capacity", "0"), "'--capacity': 0.0 is not in the range"),
        (("--phones", "5", "--nat", "9"), "--nat: must be 0 to 5"),
        (("--rate", "5", "--together", "2"), "choose one"),
        (("--heed", "nokia"), "--heed: nobody has a phone of nokia"),
        (("--greedy", "--sites", "1"), "--greedy: it takes"),
        (("--no-retry", "--retry", "60"), "--retry: has no effect with --no-retry"),
        (("--together", "2", "--no-retry"), "--no-retry: has no effect with --together"),
        (("--rate", "5", "--spread", "60"), "--spread: has no effect with --rate"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage_and_told_before_anything_is_made(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    nowhere = ["--data", str(tmp_path / "data"), "simulate", "storm", *arguments]
    done = CliRunner().invoke(cli, nowhere)
    assert done.exit_code == 2, done.output
    assert told in done.stderr
    script = CliRunner().invoke(cli, [*nowhere, "--json"])
    assert script.exit_code == 2
    error = json.loads(script.stderr)["error"]
    assert error["kind"] == "usage"
    assert told in error["cause"]
    assert list(tmp_path.iterdir()) == []


def test_plots_that_can_go_nowhere_are_told_before_the_storm(staged: House, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    began = time.monotonic()
    done = simulate(staged, *LONG, "--plots", str(tmp_path / "file" / "plots"), expect=2)
    assert "cannot be made" in done.stderr
    assert time.monotonic() - began < 20


def test_the_cast_is_always_the_same_and_all_different() -> None:
    few, many = storm_cast.extras(10), storm_cast.extras(storm_cast.MOST)
    assert many[:10] == few
    assert len({one.mac for one in many}) == len({one.extension for one in many}) == storm_cast.MOST
    assert all(Mac.parse(one.mac) == one.mac for one in many[-8:])
    with pytest.raises(Invalid):
        storm_cast.extras(storm_cast.MOST + 1)
