"""The transaction tables: whole, walkable, and with the RFC's own times."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sip_phone import MAC, Heard, Line, Phone, tcp, udp

from ivr.sip.agenda import Agenda
from ivr.sip.call import CALL, LIVE, Phase, Turn
from ivr.sip.effects import Flow
from ivr.sip.message import Request, parse
from ivr.sip.transaction import (
    CLIENT,
    INVITE_SERVER,
    LIFE,
    MACHINES,
    SERVER,
    T1,
    T2,
    T4,
    Act,
    Cause,
    Key,
    Machine,
    State,
    Transaction,
    cause_of,
)


def states(machine: Machine) -> set[State]:
    return {machine.start} | {step.to for step in machine.steps.values()}


@pytest.mark.parametrize("machine", MACHINES, ids=lambda one: one.name)
def test_every_state_is_reached_and_left(machine: Machine) -> None:
    reached, grown = {machine.start}, True
    while grown:
        more = {step.to for (state, _), step in machine.steps.items() if state in reached} - reached
        reached, grown = reached | more, bool(more)
    assert reached == {state for state, _ in machine.steps} | {State.TERMINATED}
    for state in reached - {State.TERMINATED}:
        assert any(step.to is not state for (at, _), step in machine.steps.items() if at is state)
        assert machine.steps[state, Cause.BROKEN].to is State.TERMINATED


@pytest.mark.parametrize("machine", MACHINES, ids=lambda one: one.name)
def test_each_timer_that_runs_leads_somewhere_and_each_that_leads_runs(machine: Machine) -> None:
    timers = {cause for cause in Cause if cause.value.startswith("timer")}
    run = {(state, timer) for state, ones in machine.timers.items() for timer in ones}
    assert run == {(state, cause) for state, cause in machine.steps if cause in timers}


@pytest.mark.parametrize("machine", MACHINES, ids=lambda one: one.name)
@pytest.mark.parametrize("flow", [udp(), tcp()], ids=["udp", "tcp"])
@given(causes=st.lists(st.sampled_from(Cause), max_size=12))
def test_what_is_not_in_the_table_changes_nothing(machine: Machine, flow: Flow, causes: list[Cause]) -> None:
    held = Transaction(machine, flow, 0.0)
    for cause in causes:
        before = held.state
        acts = held.happen(cause, 1.0)
        step = machine.steps.get((before, cause))
        assert (held.state, acts) == ((before, ()) if step is None else step)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda one: one.name)
@given(
    causes=st.lists(st.sampled_from([Cause.PROVISIONAL, Cause.SUCCESS, Cause.FAILURE, Cause.ACK, Cause.REQUEST])),
    reliable=st.booleans(),
)
def test_a_transaction_with_its_final_answer_ends_by_itself(
    machine: Machine, causes: list[Cause], reliable: bool
) -> None:
    held = Transaction(machine, tcp() if reliable else udp(), 0.0)
    for cause in (*causes, Cause.FAILURE):
        held.happen(cause, 0.0)
    now, ticks = 0.0, 0
    while not held.over:
        assert held.wake is not None
        now, ticks = max(now, held.wake), ticks + 1
        held.tick(now)
    assert now <= LIFE
    assert ticks < 20
    assert held.wake is None


def fires(held: Transaction, end: float) -> list[tuple[float, tuple[Act, ...]]]:
    found = []
    while held.wake is not None and held.wake <= end:
        at = held.wake
        found.append((at, held.tick(at)))
    return found


def test_timer_g_doubles_up_to_t2_and_h_ends_it() -> None:
    held = Transaction(INVITE_SERVER, udp(), 0.0)
    assert held.happen(Cause.FAILURE, 0.0) == (Act.SEND,)
    again = [at for at, acts in fires(held, 100.0) if Act.AGAIN in acts]
    assert again == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert held.over


def test_an_ack_stops_timer_g_and_timer_i_waits_for_its_copies() -> None:
    held = Transaction(INVITE_SERVER, udp(), 0.0)
    held.happen(Cause.FAILURE, 0.0)
    held.happen(Cause.ACK, 0.2)
    assert held.state is State.CONFIRMED
    assert held.wake == pytest.approx(0.2 + T4)
    assert fires(held, 100.0)[-1][1] == ()
    assert held.over


def test_on_a_connection_nothing_is_sent_twice_and_nothing_lingers() -> None:
    server = Transaction(INVITE_SERVER, tcp(), 0.0)
    server.happen(Cause.FAILURE, 0.0)
    assert server.wake == LIFE  # H alone
    server.happen(Cause.ACK, 1.0)
    assert server.wake == 1.0
    other = Transaction(SERVER, tcp(), 0.0)
    other.happen(Cause.SUCCESS, 5.0)
    assert other.wake == 5.0
    client = Transaction(CLIENT, tcp(), 0.0)
    assert client.wake == LIFE
    client.happen(Cause.SUCCESS, 1.0)
    assert client.wake == 1.0


def test_timer_e_doubles_and_becomes_t2_with_a_provisional_answer_and_f_runs_on() -> None:
    held = Transaction(CLIENT, udp(), 0.0)
    assert [at for at, _ in fires(held, 0.6)] == [0.5]
    held.happen(Cause.PROVISIONAL, 0.7)
    rest = fires(held, 100.0)
    assert [at for at, acts in rest if Act.AGAIN in acts] == [1.5, 5.5, 9.5, 13.5, 17.5, 21.5, 25.5, 29.5]
    assert rest[-1] == (LIFE, (Act.GIVE_UP,))


def test_a_late_tick_sends_once_and_not_for_all_that_was_missed() -> None:
    held = Transaction(CLIENT, udp(), 0.0)
    assert held.tick(9.0) == (Act.AGAIN,)
    assert held.wake == 9.0 + 2 * T1


def test_a_2xx_is_repeated_for_a_repeated_invite_until_timer_l() -> None:
    held = Transaction(INVITE_SERVER, udp(), 0.0)
    held.happen(Cause.SUCCESS, 0.0)
    assert held.happen(Cause.REQUEST, 1.0) == (Act.AGAIN,)
    assert fires(held, 100.0) == [(LIFE, ())]


def test_answers_are_sorted_by_their_first_digit() -> None:
    assert [cause_of(status) for status in (100, 199, 200, 299, 300, 699)] == [
        Cause.PROVISIONAL,
        Cause.PROVISIONAL,
        Cause.SUCCESS,
        Cause.SUCCESS,
        Cause.FAILURE,
        Cause.FAILURE,
    ]


# --- what belongs together ------------------------------------------------------------------------------


def read(data: bytes) -> Request:
    message = parse(data)
    assert isinstance(message, Request)
    return message


def test_a_transaction_is_known_by_branch_sender_and_method() -> None:
    phone = Phone()
    invite = Key.of(read(phone.request("INVITE", cseq=1, branch="z9hG4bKa")))
    assert Key.of(read(phone.request("ACK", cseq=1, branch="z9hG4bKa", to_tag="x"))) == invite
    assert Key.of(read(phone.request("CANCEL", cseq=1, branch="z9hG4bKa")), "INVITE") == invite
    assert Key.of(read(phone.request("INVITE", cseq=1, branch="z9hG4bKb"))) != invite
    assert Key.of(read(phone.request("OPTIONS", cseq=1, branch="z9hG4bKa"))) != invite


@pytest.mark.parametrize("branch", ["1", "z9hG4bK"])
def test_an_older_peer_is_known_by_all_that_it_says(branch: str) -> None:
    phone = Phone()
    invite = Key.of(read(phone.request("INVITE", cseq=1, branch=branch)))
    assert Key.of(read(phone.request("INVITE", cseq=1, branch=branch))) == invite
    assert Key.of(read(phone.request("ACK", cseq=1, branch=branch, to_tag="x"))) == invite
    assert Key.of(read(phone.request("INVITE", cseq=2, branch=branch))) != invite
    assert Key.of(read(Phone(call_id="other").request("INVITE", cseq=1, branch=branch))) != invite


# --- calls as a table -----------------------------------------------------------------------------------


def test_every_phase_of_a_call_is_reached_and_can_always_be_left() -> None:
    reached, grown = {Phase.INVITED}, True
    while grown:
        more = {to for (phase, _), to in CALL.items() if phase in reached} - reached
        reached, grown = reached | more, bool(more)
    assert reached == set(Phase)
    for phase in set(Phase) - {Phase.OVER}:
        assert CALL[phase, Turn.LOST] is Phase.OVER
        assert CALL[phase, Turn.THEY_LEAVE] is Phase.OVER
    assert all(phase is not Phase.OVER for phase, _ in CALL)
    assert all(CALL[phase, Turn.WE_LEAVE] not in LIVE for phase in LIVE)
    assert {turn for _, turn in CALL} == set(Turn)


# --- the agenda -----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(0, 50))), max_size=300))
def test_the_agenda_wakes_each_at_his_last_wish_and_stays_small(wishes: list[tuple[str, int | None]]) -> None:
    agenda: Agenda[str] = Agenda()
    wanted: dict[str, int] = {}
    for who, when in wishes:
        agenda.set(who, when)
        wanted.pop(who, None)
        if when is not None:
            wanted[who] = when
        assert agenda.next() == min(wanted.values(), default=None)
        assert len(agenda._heap) <= 2 * 6 + 65
    woken = []
    while (one := agenda.pop(50)) is not None:
        woken.append(one)
    assert sorted(woken) == sorted(wanted)
    assert all(wanted[one] <= wanted[other] for one, other in pairwise(woken))


def test_wishes_that_were_replaced_are_cleared_away() -> None:
    agenda: Agenda[str] = Agenda()
    for number in range(10_000):
        agenda.set("a", float(number))
    assert len(agenda._heap) < 100
    assert (agenda.next(), len(agenda)) == (9999.0, 1)


def test_nobody_is_woken_early() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.set("a", 5.0)
    assert agenda.pop(4.9) is None
    assert agenda.pop(5.0) == "a"
    assert agenda.pop(99.0) is None


# --- the same on the wire -------------------------------------------------------------------------------


def test_a_rejection_is_repeated_until_its_ack() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    began = line.now
    (busy,) = line.heard(line.note(line.core.reject(call, 486, line.now)))
    assert busy.status == 486
    line.wait(4.0)
    assert line.times(began, "SIP/2.0 486") == [0.0, 0.5, 1.5, 3.5]
    ack = phone.request("ACK", cseq=phone.cseq, to_tag=busy.tag(), branch=branch_of(line.last))
    assert line.say(ack, phone.flow) == []
    line.wait(10.0)
    assert len(line.times(began, "SIP/2.0 486")) == 4
    assert line.core.held.transactions == 0


def test_a_lost_100_and_a_lost_200_are_said_again_for_a_repeated_invite() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    assert [one.status for one in line.say(line.last, phone.flow)] == [100]
    answered = line.answer(call, phone)
    (again,) = line.say(line.last, phone.flow)
    assert again.data == answered.data
    assert line.core.held.calls == 1


def test_a_2xx_goes_out_until_the_ack_even_on_a_connection() -> None:
    for flow in (udp(), tcp()):
        line, phone = Line(), Phone(flow=flow)
        call = line.invite(phone)
        began = line.now
        line.answer(call, phone)
        line.wait(12.0)
        assert line.times(began, "SIP/2.0 200") == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5]
        line.feed(phone.request("ACK", cseq=phone.cseq), flow)
        line.wait(40.0)
        assert len(line.times(began, "SIP/2.0 200")) == 6


def test_t2_is_the_longest_pause() -> None:
    assert T2 == 8 * T1


def test_a_copy_of_a_register_gets_the_same_answer_for_32_seconds() -> None:
    line, phone = Line(), Phone()
    (first,) = line.heard(line.register(phone))
    line.wait(31.0)
    (again,) = line.say(line.last, phone.flow)
    assert again.data == first.data
    line.wait(2.0)
    assert line.core.held.transactions == 0
    assert first.get("Contact") == f"<sip:{MAC}@192.0.2.17:5062>;expires=300"


def branch_of(data: bytes) -> str:
    return Heard(data).get("Via").split("branch=")[1]
