"""A console with two accounts in it, and somebody signed in."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from console_house import Browser, House, furnish, serving


@pytest.fixture(scope="session")
def console_data(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One a process, to copy from."""
    data = Path(shutil.copytree(made, tmp_path_factory.mktemp("console") / "data"))

    async def fill() -> None:
        async with serving(data) as house:
            await furnish(house)
            (data / "ids.json").write_text(json.dumps(house.ids))

    asyncio.run(fill())
    return data


@pytest_asyncio.fixture
async def house(console_data: Path, tmp_path: Path) -> AsyncIterator[House]:
    data = Path(shutil.copytree(console_data, tmp_path / "data"))
    async with serving(data, switch_allow=("127.0.0.0/8",)) as made:
        made.ids = json.loads((data / "ids.json").read_text())
        yield made


@pytest_asyncio.fixture
async def owner(house: House) -> Browser:
    return await house.browser()
