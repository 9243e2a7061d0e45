"""An API to ask, and one with two accounts in it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from api_house import House, furnish, serving


@pytest.fixture
def installed(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "installed"))


@pytest.fixture(scope="session")
def furnished(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One house a process, to copy from."""
    data = Path(shutil.copytree(made, tmp_path_factory.mktemp("furnished") / "data"))

    async def fill() -> None:
        async with serving(data) as house:
            await furnish(house)
            (data / "ids.json").write_text(json.dumps(house.ids))

    asyncio.run(fill())
    return data


@pytest_asyncio.fixture
async def house(furnished: Path, tmp_path: Path) -> AsyncIterator[House]:
    """Two accounts: Acme with a site, two users, two extensions and two devices, Other with one of each."""
    data = Path(shutil.copytree(furnished, tmp_path / "data"))
    async with serving(data, api_rate=10_000.0, api_burst=100_000, switch_allow=("127.0.0.0/8",)) as made:
        made.ids = json.loads((data / "ids.json").read_text())
        yield made
