"""For the scenarios: one installation whose keys are made once a process; each module serves a copy of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import House


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Initialised, two factories trusted, nothing in it, never started."""
    return House.build(tmp_path_factory.mktemp("blank"))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A directory of this module's own."""
    return tmp_path_factory.mktemp(request.module.__name__)
