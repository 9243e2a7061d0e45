"""Every phone of the simulator's table boots against a real server; then the ways in which a boot may differ."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from house import SECRET, House
from stage import (
    add,
    administer,
    boots,
    boots_once,
    extension,
    no_canary,
    no_traceback,
    phone,
    secret_of,
    server_of,
    soon,
    url,
)

from provisioner.model import DeviceState, Mac, Scope
from provisioner.simulator import Flash, Outcome, load_persona, personas
from provisioner.simulator.persona import Persona, Sequence
from provisioner.simulator.report import BootReport

OUIS = {"poly": "0004f2", "yealink": "001565"}
TRANSPORTS = ("udp", "tcp", "tls")
EVERYBODY = {f"{OUIS[one.vendor]}{0xA00000 + place:06x}": one for place, one in enumerate(personas())}
NUMBERS = {mac: f"{70000 + place}" for place, mac in enumerate(EVERYBODY)}
OLD = {mac: one for mac, one in EVERYBODY.items() if one.tls_max < "1.2"}

LONELY, TWO, YOUNG, IMAGED = "001565b00001", "001565b00002", "0004f2b00003", "0004f2b00004"
NOBODY = "805ec0b00005"
NOTHING_NEW = {Sequence.YEALINK: "every file is unchanged", Sequence.OBI: "is unchanged"}
IMAGE = "3111-48450-001.sip.ld"


def wanted(mac: str) -> tuple[str, str, str, str]:
    """Number, secret, server and transport that this phone must come up with."""
    place = list(EVERYBODY).index(mac)
    return NUMBERS[mac], secret_of(mac, NUMBERS[mac]), server_of(mac), TRANSPORTS[place % len(TRANSPORTS)]


def listener(persona: Persona) -> str:
    return "legacy" if persona.tls_max < "1.2" else "device"


@pytest.fixture(scope="module")
def house(blank: House, room: Path) -> Iterator[House]:
    old = ",".join(sorted({one.model for one in OLD.values()}))
    built = blank.copy(room, legacy_port=0, legacy_models=old, store_flush=0.2)
    add(built, *((mac, one.vendor, one.model, NUMBERS[mac]) for mac, one in EVERYBODY.items()))
    more = (
        (LONELY, "yealink", "T46S", ""),
        (TWO, "yealink", "T46S", "71001"),
        (YOUNG, "poly", "VVX 411", "71002"),
        (IMAGED, "poly", "VVX 411", "71003"),
    )
    add(built, *more)

    async def differ(fleet) -> None:  # type: ignore[no-untyped-def]  # a Fleet
        for mac in EVERYBODY:
            await fleet.set_layer(Scope.DEVICE, mac, {"sip.transport": wanted(mac)[3]})
        account = (await fleet.accounts())[0].id
        await extension(fleet, account, TWO, "71011")
        await fleet.bind(Mac(TWO), 2, extension="71011")

    administer(built, differ)
    (built.data / "firmware" / "poly" / IMAGE).write_bytes(b"image" * 1000)
    built.start()
    yield built
    built.stop()
    no_traceback(built)
    no_canary(built)


@pytest.fixture(scope="module")
def flashes() -> dict[str, Flash]:
    """What each phone remembers of its first boot."""
    return {mac: Flash() for mac in EVERYBODY}


@pytest.fixture(scope="module")
def first(house: House, flashes: dict[str, Flash]) -> dict[str, BootReport]:
    return boot_everybody(house, flashes)


def boot_everybody(house: House, flashes: dict[str, Flash]) -> dict[str, BootReport]:
    plugged = [
        (phone(house, one, one.vendor, mac), url(house, listener(one)), flashes[mac]) for mac, one in EVERYBODY.items()
    ]
    return dict(zip(EVERYBODY, boots(*plugged), strict=True))


def lines(report: BootReport) -> list[tuple[str, str, str, str]]:
    return [(one.user, one.secret, one.server.partition(":")[0], one.transport) for one in report.lines]


# --- the whole table --------------------------------------------------------------------------------


def test_the_table_is_the_whole_market() -> None:
    assert len(EVERYBODY) >= 130
    assert len(OLD) >= 10


def test_every_phone_comes_up_with_its_own_line_and_no_other(first: dict[str, BootReport]) -> None:
    wrong = {
        EVERYBODY[mac].model: (report.outcome, lines(report), report.refused_because, report.no_line_because)
        for mac, report in first.items()
        if report.outcome is not Outcome.REGISTERED or lines(report) != [wanted(mac)]
    }
    assert not wrong


def test_no_phone_finds_fault_with_an_answer(first: dict[str, BootReport]) -> None:
    assert not {EVERYBODY[mac].model: report.faults for mac, report in first.items() if report.faults}
    strange = {
        (EVERYBODY[mac].model, step.path, step.status)
        for mac, report in first.items()
        for step in report.steps
        if step.status not in (200, 201, 404)
    }
    assert not strange


def test_no_phone_leaves_a_line_of_its_files_unread(first: dict[str, BootReport]) -> None:
    unread = {
        EVERYBODY[mac].model: [note for note in report.notes if "not understood" in note]
        for mac, report in first.items()
    }
    assert not {model: notes for model, notes in unread.items() if notes}


def test_what_a_phone_gets_holds_nothing_of_another(first: dict[str, BootReport]) -> None:
    marks = re.compile(rf"(?:{re.escape(SECRET)}|Person of |pbx-)([0-9a-f]{{12}})|\b(7\d{{4}})\b")
    for mac, report in first.items():
        text = "\n".join(f"{name} = {value}" for name, value in report.parameters.items())
        found = {one for pair in marks.findall(text) for one in pair if one}
        assert found == {mac, NUMBERS[mac]}, EVERYBODY[mac].model


def test_each_spoke_the_tls_of_its_age(first: dict[str, BootReport]) -> None:
    for mac, report in first.items():
        expected = "TLSv1" if mac in OLD else f"TLSv{EVERYBODY[mac].tls_max}"
        assert report.tls_version == expected, EVERYBODY[mac].model
        assert "DHE-" not in report.tls_cipher.replace("ECDHE-", "")


def test_a_second_boot_changes_nothing(house: House, first: dict[str, BootReport], flashes: dict[str, Flash]) -> None:
    for mac, report in boot_everybody(house, flashes).items():
        model = EVERYBODY[mac].model
        assert report.outcome is Outcome.REGISTERED, model
        assert lines(report) == lines(first[mac]), model
        if note := NOTHING_NEW.get(EVERYBODY[mac].sequence):
            assert any(note in one for one in report.notes), (model, report.notes)
            assert not report.parameters, model
        else:
            assert report.parameters == first[mac].parameters, model


def test_each_device_is_pinned_and_its_fetches_are_told(house: House, first: dict[str, BootReport]) -> None:
    async def unpinned(fleet):  # type: ignore[no-untyped-def]  # a Fleet
        return [one.mac for one in await fleet.devices() if one.mac in EVERYBODY and not one.pinned]

    assert soon(lambda: not administer(house, unpinned)), administer(house, unpinned)

    async def fetched(fleet):  # type: ignore[no-untyped-def]  # a Fleet
        return {mac: {one.proof for one in await fleet.fetches(Mac(mac)) if one.status == 200} for mac in EVERYBODY}

    assert {mac: proofs for mac, proofs in administer(house, fetched).items() if proofs != {"certificate"}} == {}


# --- habits ---------------------------------------------------------------------------------------

SORTS = ["VVX 411", "CCX 500", "OBi302", "T46S", "T21P E2", "W60B", "T54W"]


def sorted_out(model: str) -> tuple[str, Persona]:
    return next((mac, one) for mac, one in EVERYBODY.items() if one.model == model)


@pytest.mark.parametrize("resume", [False, True])
def test_a_new_connection_for_each_file(house: House, first: dict[str, BootReport], resume: bool) -> None:
    for model in SORTS:
        mac, persona = sorted_out(model)
        habits = {"connection_per_file": True, "resume": resume}
        report = boots_once(phone(house, persona, persona.vendor, mac, **habits), url(house))
        assert lines(report) == [wanted(mac)], model
        assert report.connections == len(report.steps), model
        assert report.resumed == (report.connections - 1 if resume else 0), model


def test_a_session_outlives_a_power_cut(house: House, first: dict[str, BootReport]) -> None:
    mac, persona = sorted_out("T46S")
    flash, plugged = Flash(), phone(house, persona, persona.vendor, mac, resume=True)
    assert boots_once(plugged, url(house), flash).resumed == 0
    again = boots_once(plugged, url(house), flash)
    assert (again.resumed, lines(again)) == (1, [wanted(mac)])


def test_an_updater_asks_first_and_finds_its_image(house: House) -> None:
    """Its own version is no application's: below the floor or not, the phone gets its line in the same boot."""
    persona = replace(load_persona("poly", "VVX 411"), updater="5.0.1.1000")
    report = boots_once(phone(house, persona, "poly", IMAGED, updater=True, check_firmware=True), url(house))
    assert report.outcome is Outcome.REGISTERED
    assert [step.status for step in report.steps if (step.method, step.path) == ("HEAD", IMAGE)] == [200]
    both = [step.sha256 for step in report.steps if step.path == f"{IMAGED}-user.cfg"]
    assert len(both) == 2
    assert len(set(both)) == 1
    state = administer(house, lambda fleet: fleet.device(Mac(IMAGED))).state
    assert state is not DeviceState.NEEDS_FIRMWARE


def test_firmware_below_the_floor_comes_up_without_a_line_until_it_is_new(house: House) -> None:
    old = boots_once(phone(house, "VVX 411", "poly", YOUNG, firmware="5.9.3.2857"), url(house))
    assert old.outcome is Outcome.IDLE
    assert not [one for one in old.parameters.values() if SECRET in one or "Person" in one]
    state = lambda: administer(house, lambda fleet: fleet.device(Mac(YOUNG))).state  # noqa: E731  # short
    assert soon(lambda: state() is DeviceState.NEEDS_FIRMWARE)
    new = boots_once(phone(house, "VVX 411", "poly", YOUNG, firmware="5.9.4.3247"), url(house))
    assert [one.secret for one in new.lines] == [secret_of(YOUNG, "71002")]
    assert soon(lambda: state() is not DeviceState.NEEDS_FIRMWARE)


def test_a_device_nobody_uses_is_idle_and_one_nobody_added_is_refused(house: House) -> None:
    report = boots_once(phone(house, "T46S", "yealink", LONELY), url(house))
    assert (report.outcome, report.lines) == (Outcome.IDLE, ())
    assert "7100" not in "".join(report.parameters.values())
    stranger = boots_once(phone(house, "T46S", "yealink", NOBODY), url(house))
    assert (stranger.outcome, stranger.parameters) == (Outcome.REFUSED, {})


def test_two_lines_are_two_lines_in_their_order_and_the_second_can_go(house: House) -> None:
    flash, plugged = Flash(), phone(house, "T46S", "yealink", TWO)
    report = boots_once(plugged, url(house), flash)
    assert [(one.number, one.user, one.secret) for one in report.lines] == [
        (1, "71001", secret_of(TWO, "71001")),
        (2, "71011", secret_of(TWO, "71011")),
    ]
    administer(house, lambda fleet: fleet.unbind(Mac(TWO), 1))
    left = soon(lambda: [one for one in [boots_once(plugged, url(house), flash)] if len(one.lines) == 1], 5)
    assert [(one.number, one.user) for one in left[0].lines] == [(2, "71011")]


def test_a_thief_with_a_good_certificate_gets_nothing_of_the_phone_it_names(house: House) -> None:
    mac, persona = sorted_out("T46S")
    victim, _ = sorted_out("T54W")
    report = boots_once(phone(house, persona, persona.vendor, mac, ask_for=Mac(victim)), url(house))
    assert (report.lines, report.outcome is Outcome.REGISTERED) == ((), False)
    assert {step.status for step in report.steps if victim in step.path} == {403}
    assert not [one for one in report.parameters.values() if victim in one or SECRET in one]
