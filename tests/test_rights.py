"""Deny by default; the matrix is the one that is documented; reach never grows on its way to a use-case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Forbidden
from provisioner.rights import EVERYTHING, OPERATOR, Holding, Principal, Reach, granted_part, parts_of
from provisioner.roles import GRANTABLE, HOUSE, MATRIX, RIGHT_WORDS, Extent, Right, Role

DOCUMENTED = """
place order          | order.place       | all | -   | -        | all | all | -   | -   | -   | -     | -   | -   | all
see prices           | price.read        | all | -   | -        | -   | all | -   | -   | -   | -     | -   | all | all
see totals           | price.total       | all | -   | -        | all | all | -   | all | -   | -     | -   | all | all
request device       | request.place     | all | all | own site | all | all | -   | all | own | -     | -   | -   | -
approve              | request.approve   | all | -   | own site | -   | -   | -   | own | -   | -     | -   | -   | -
post shipment        | shipment.post     | all | all | -        | -   | -   | -   | -   | -   | -     | own | -   | -
bind MAC             | device.bind       | all | all | own site | -   | -   | -   | -   | -   | grant | -   | -   | all
issue code           | code.issue        | all | all | own site | -   | -   | -   | -   | -   | grant | -   | -   | all
read code            | code.reveal       | all | all | own site | -   | -   | -   | -   | own | grant | -   | -   | all
reveal secret        | secret.reveal     | all | all | -        | -   | -   | -   | -   | -   | grant | -   | -   | -
resync               | device.resync     | all | all | own site | -   | -   | -   | -   | own | all   | -   | -   | all
capture, diagnose    | device.diagnose   | all | all | -        | -   | -   | -   | -   | -   | all   | -   | -   | -
see a diagnosis      | diagnosis.read    | all | all | own site | -   | -   | -   | -   | -   | all   | -   | -   | -
create a port        | port.write        | all | -   | -        | -   | -   | all | -   | -   | -     | -   | -   | all
accept port fees     | port.accept       | all | -   | -        | -   | all | -   | -   | -   | -     | -   | -   | all
policies             | policy.write      | all | -   | -        | -   | -   | -   | -   | -   | -     | -   | -   | -
adapters             | hook.write        | all | -   | -        | -   | -   | -   | -   | -   | -     | -   | -   | -
roles                | role.write        | all | -   | -        | -   | -   | -   | -   | -   | -     | -   | -   | -
audit log            | audit.read        | all | own | own site | -   | -   | own | -   | -   | -     | -   | all | all
"""
"""The product's own table, its columns in the order of Role."""


@pytest.mark.parametrize("line", DOCUMENTED.strip().splitlines(), ids=lambda line: line.split("|")[1].strip())
def test_the_matrix_is_the_documented_one(line: str) -> None:
    _, name, *cells = [cell.strip() for cell in line.split("|")]
    told = {role: Extent(cell) for role, cell in zip(Role, cells, strict=True) if cell != "-"}
    assert {role: row[Right(name)] for role, row in MATRIX.items() if Right(name) in row} == told


def test_every_right_has_its_words_and_is_the_owners() -> None:
    assert set(RIGHT_WORDS) == set(Right) == set(MATRIX[Role.OWNER])
    assert set(MATRIX) == set(Role)
    assert {Right.SECRET_REVEAL, Right.DEVICE_BIND} <= GRANTABLE


def test_nobody_may_anything_and_the_machine_everything() -> None:
    nobody = Principal("nobody")
    for right in Right:
        with pytest.raises(Forbidden) as told:
            nobody.doing(right)
        assert told.value.right == right.value
        assert OPERATOR.doing(right).reach == EVERYTHING
    assert nobody.reach == Reach()
    assert not nobody.reach.device("a", "s", ["u"])


def principal(*holdings: Holding) -> Principal:
    return Principal("ann@example.net", tuple(part for one in holdings for part in parts_of(one, "ann@example.net")))


def test_a_right_reaches_no_further_than_the_role_that_carries_it() -> None:
    ann = principal(Holding(Role.DEVICE_ADMIN, "a"), Holding(Role.AUDITOR, "b"), Holding(Role.SITE_ADMIN, "c", "c1"))
    assert ann.doing(Right.DEVICE_READ).reach.accounts == {"a", "b"}
    assert ann.doing(Right.DEVICE_READ).reach.sites == {"c1"}
    assert ann.doing(Right.DEVICE_BIND).reach == Reach(
        frozenset("a"), frozenset({"c1"}), partly=frozenset("c"), audited_sites=frozenset({"c1"})
    )
    assert ann.doing(Right.SECRET_REVEAL).reach.accounts == {"a"}
    assert ann.doing(Right.SECRET_REVEAL).reach.sites == frozenset()
    assert not ann.may(Right.ROLE_WRITE)


def test_deeds_are_read_by_those_who_may_and_not_by_whoever_sees_the_devices() -> None:
    ann = principal(Holding(Role.DEVICE_ADMIN, "a"), Holding(Role.OWNER, "b"))
    assert ann.doing(Right.EVENT_READ).reach.accounts == {"a", "b"}
    assert ann.doing(Right.EVENT_READ).reach.audits == {"b"}
    assert ann.doing(Right.AUDIT_READ).reach.actor == "ann@example.net"


def test_a_role_without_the_site_or_user_it_needs_is_worth_nothing() -> None:
    assert principal(Holding(Role.SITE_ADMIN, "a")).parts == ()
    employee = principal(Holding(Role.EMPLOYEE, "a", user="u")).doing(Right.CODE_REVEAL).reach
    assert (employee.accounts, employee.users, employee.partly) == (frozenset(), {"u"}, {"a"})


def test_the_installation_is_for_owners_of_all_of_it() -> None:
    for right in HOUSE:
        assert principal(Holding(Role.OWNER)).may(right)
        assert not principal(Holding(Role.OWNER, "a")).may(right)
        assert not principal(Holding(Role.OWNER)).narrowed(list(Right), frozenset("a")).may(right)


def test_a_grant_adds_only_what_the_role_can_be_granted_and_where_it_is_held() -> None:
    lab = Holding(Role.TECHNICIAN, "a")
    part = granted_part(lab, Right.SECRET_REVEAL, "")
    assert part is not None and part.rights == {Right.SECRET_REVEAL} and part.reach.accounts == {"a"}
    assert granted_part(lab, Right.SECRET_REVEAL, "b") is None
    assert granted_part(lab, Right.POLICY_WRITE, "a") is None
    assert granted_part(Holding(Role.SITE_ADMIN, "a", "s"), Right.SECRET_REVEAL, "a") is None
    everywhere = granted_part(Holding(Role.TECHNICIAN), Right.SECRET_REVEAL, "a")
    assert everywhere is not None and everywhere.reach.accounts == {"a"}


def test_a_partner_acts_below_and_is_named() -> None:
    partner = principal(
        Holding(Role.PARTNER, "p", through="p"), Holding(Role.PARTNER, "c", through="p"), Holding(Role.OWNER, "o")
    )
    assert partner.doing(Right.DEVICE_BIND).reach.accounts == {"c", "o"}
    assert partner.doing(Right.ACCOUNT_WRITE).reach.parents == {"p"}
    assert not partner.doing(Right.DEVICE_READ).reach.whole("p")
    assert (partner.partner_for("c"), partner.partner_for("o"), partner.partner_for("x")) == ("p", "", "")


accounts = st.sampled_from("abcd")
holdings = st.builds(
    Holding,
    st.sampled_from(Role),
    st.one_of(st.just(""), accounts),
    st.sampled_from(["", "s1", "s2"]),
    st.sampled_from(["", "u1"]),
)
principals = st.lists(holdings, max_size=4).map(lambda held: principal(*held))


def covers(wide: Reach, narrow: Reach) -> bool:
    if narrow.accounts is None:
        return wide.accounts is None
    whole = all(wide.whole(one) for one in narrow.accounts)
    return whole and narrow.sites <= wide.sites and narrow.users <= wide.users


@given(principals, st.sampled_from(Right))
def test_doing_something_never_reaches_further(who: Principal, right: Right) -> None:
    if who.may(right):
        doing = who.doing(right)
        assert covers(who.reach, doing.reach)
        assert all(right in part.rights for part in doing.parts)
    else:
        with pytest.raises(Forbidden):
            who.doing(right)


@given(principals, st.frozensets(st.sampled_from(Right)), st.one_of(st.none(), st.frozensets(accounts)))
def test_a_key_never_does_more_than_its_maker(
    who: Principal, scopes: frozenset[Right], limited: frozenset[str] | None
) -> None:
    key = who.narrowed(scopes, limited)
    assert key.rights <= who.rights & scopes
    for right in key.rights:
        reach = key.doing(right).reach
        assert covers(who.doing(right).reach, reach)
        assert limited is None or (reach.accounts is not None and reach.accounts <= limited)
        assert limited is None or reach.partly <= limited


@given(principals, accounts, st.sampled_from(Right))
def test_what_may_be_done_in_an_account_is_what_its_reach_says(who: Principal, account: str, right: Right) -> None:
    assert who.may_in(right, account) == (who.may(right) and who.doing(right).reach.whole(account))
