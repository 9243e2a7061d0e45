"""802.1X in the laboratory: who lets whom in, by real programs; and what must be told of it."""

from __future__ import annotations

import pytest
from expecting import Expected, facts_in, shown
from gatekeeper import Case, Doors, doors

from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.ladder import State, diagnose

CASES = [
    Case("dot1x_success", None, over="EAP-SUCCESS"),
    Case("dot1x_expired", 8, "CN=Factory CA, which has expired", phone="phone-expired"),
    Case("dot1x_unknown_phone_ca", 8, "after it has shown its certificate of CN=Stranger CA", phone="phone-strange"),
    Case("dot1x_unknown_name", 8, "its name is not known there", users='"somebody-else" TLS'),
    Case("dot1x_no_supplicant", 8, "the switch asks who it is and is not answered", supplicant=None),
    Case("dot1x_silent_switch", 8, "the switch says nothing", switch=False),
    Case("dot1x_other_method", 8, "the phone wants another method", users="* MD5"),
    Case("dot1x_phone_refuses", 86, "alert 48", "phone", trusts="strange-ca"),
    Case("dot1x_radius_expired", 86, "alert 45", "phone", radius="radius-expired"),
]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Doors:
    with doors(tmp_path_factory.mktemp("doors"), CASES) as made:
        made.play()
    return made


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[one.name for one in CASES])
def test_the_first_line_names_the_cause(played: Doors, case: Case) -> None:
    tape = played.path(case)
    if case.row is not None:
        shown(case.name, Expected(case.row, case.who, case.says), tape)
        return
    found = diagnose(facts_in([tape]), Expected(None).subject, 0.0)
    step = next(one for one in found.steps if one.rung is Rung.DOT1X)
    assert (step.state, step.says) == (State.GOOD, "802.1X let it in")
