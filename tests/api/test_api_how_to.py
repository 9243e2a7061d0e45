"""The how-to page's calls, pasted one after the other into a shell: each of them is answered."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house import House

from provisioner.demo.cast import seed
from provisioner.http.api.bulk import KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "use-the-api.md"


async def demonstrated(house: House) -> None:
    """With everything that `make run` makes: whoever has done that first can paste the page all the same."""
    async with house.fleet() as fleet:
        await seed(fleet)


@pytest.mark.slow
@pytest.mark.timeout(100)
def test_the_calls_of_the_page_work_as_they_stand(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 10
    house = House.build(tmp_path)
    asyncio.run(demonstrated(house))
    house.start()
    try:
        script = "set -euo pipefail\n" + "\n".join(blocks)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PROVISIONER_DATA": str(house.data)}
        done = subprocess.run(
            ["bash", "-c", script],
            env=environment,
            cwd=house.data,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        house.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"number":"2001"' in done.stdout
    assert done.stdout.count('"name":"Bob"') == 2
    assert '"name":"Example GmbH"' in done.stdout
    assert "0004f2000001" in done.stdout


def test_the_page_names_every_kind_of_job() -> None:
    assert [name for name in KINDS if f"`{name}`" not in PAGE.read_text("utf-8")] == []
