"""An administrator without a pause, in a process of its own: prints a number when what it stands for is told saved.

Usage: busy_desk.py DATA FIRST SECRET
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from provisioner import settings
from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac, Scope
from provisioner.store.database import Store
from provisioner.vendors import drivers


async def work(data: Path, first: int, secret: str) -> None:
    async with Store.of(settings.load(data)) as store:
        fleet = Fleet(store, {one.manifest.name: one for one in drivers()}, actor="busy desk")
        account = (await fleet.accounts())[0].id
        for number in count(first):
            mac = Mac(f"001565{number:06x}")
            await fleet.add_device(mac, vendor="yealink", model="T46S", account=account)
            told("device", number)
            user = await fleet.add_user(f"User {number}", account=account)
            await fleet.add_extension(f"9{number:05d}", account=account, user=user.id, secret=f"{secret}{number}")
            await fleet.bind(mac, 1, extension=f"9{number:05d}")
            told("line", number)
            await fleet.set_layer(Scope.DEVICE, mac, {"time.ntp": f"ntp-{number}.example"})
            told("layer", number)


def told(kind: str, number: int) -> None:
    print(kind, number, flush=True)  # noqa: T201  # this is what the program is for


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
