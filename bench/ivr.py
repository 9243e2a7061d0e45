"""What a call to the activation prompts costs, and how soon after the last digit its caller hears the answer.

The real server with its real database answers phones of this program over UDP. CPU is that of the IVR's process alone,
over a window in which every call is up and most hear a prompt; then each of them keys in a code of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import record

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from call_phone import CallPhone
from house import House

from provisioner import settings
from provisioner.activation.codes import Codes
from provisioner.activation_secret import PURPOSE, issue
from provisioner.model import DeviceState, Mac, Scope
from provisioner.store.database import Store
from provisioner.vendors import drivers

GOAL_PERCENT, GOAL_SECONDS = 0.3, 0.3
CALLS = (20, 100)
WINDOW = 8.0
"""s of prompts that are measured: the welcome is a little longer."""
RAMP = 40.0
"""Calls begun a second."""
KEYING = 5.0
"""s over which the callers begin to key in."""
NUMBER = "2288"


async def furnish(house: House, number: int) -> list[tuple[str, str, str, str]]:
    """Mac, SIP user, password and code of each phone."""
    configured = settings.load(house.data)
    async with house.fleet() as fleet, Store.of(configured) as store:
        codes = Codes(store, {one.manifest.name: one for one in drivers(house.data / "templates")}, configured)
        account = (await fleet.add_account("Acme")).id
        await fleet.set_layer(Scope.ACCOUNT, account, {"activation": True})
        found = []
        for index in range(number):
            mac, extension = Mac(f"001565{index:06x}"), str(1000 + index)
            await fleet.add_device(mac, vendor="yealink", model="T46S", account=account)
            user = await fleet.add_user(f"Person {extension}", account=account)
            await fleet.add_extension(extension, account=account, user=user.id, display_name=extension, secret="s" * 20)
            name, secret = issue(store.box.derived(PURPOSE)[0], mac, time.time(), 86_400, b"")
            found.append((str(mac), name, str(secret), (await codes.issue(extension, account=account)).code))
    return found


async def bound(house: House) -> int:
    async with house.fleet() as fleet:
        return len(await fleet.devices(state=DeviceState.ASSIGNED, limit=100_000))


def cpu(pid: int) -> float:
    """s, by the kernel's CPU clock of that process."""
    return time.clock_gettime((~pid << 3) | 2)


async def one(phone: CallPhone, code: str, dice: random.Random) -> float:
    """Key in a code; s from the last digit to the first sound of the answer."""
    await asyncio.sleep(dice.uniform(0, KEYING))
    await phone.key(code[:-1])
    before, keyed = len(phone.frames), time.monotonic()
    await phone.key(code[-1], pause=0.0)
    async with asyncio.timeout(20):
        while len(phone.frames) <= before:  # noqa: ASYNC110  # arrivals are dated when they come
            await asyncio.sleep(0.002)
    return phone.arrivals[before] - keyed


async def measure(house: House, number: int, pid: int) -> dict[str, object]:
    people = await furnish(house, number)
    server = ("127.0.0.1", house.ports["ivr"])
    phones = [await CallPhone.open(mac, user, secret, server) for mac, user, secret, _ in people]
    calls = []
    for phone in phones:
        calls.append(asyncio.create_task(phone.call(NUMBER)))
        await asyncio.sleep(1 / RAMP)
    answers = await asyncio.gather(*calls)
    frames, before, began = sum(len(one.frames) for one in phones), cpu(pid), time.monotonic()
    await asyncio.sleep(WINDOW)
    spent, took = cpu(pid) - before, time.monotonic() - began
    heard = sum(len(one.frames) for one in phones) - frames
    dice = random.Random(7)
    delays = await asyncio.gather(*(one(phone, code[3], dice) for phone, code in zip(phones, people, strict=True)))
    await asyncio.gather(*(phone.hang_up() for phone in phones))
    right = await bound(house)
    for phone in phones:
        phone.close()
    return {
        "calls": number,
        "answered": answers.count(200),
        "codes_bound": right,
        "cpu_percent_of_a_core": round(100 * spent / took, 2),
        "cpu_percent_a_call": round(100 * spent / took / number, 3),
        "frames_heard_a_second_and_call": round(heard / took / number, 1),
        "answer_ms_median": round(1000 * statistics.median(delays), 1),
        "answer_ms_most": round(1000 * max(delays), 1),
    }


def run(number: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as directory:
        house = House.build(Path(directory), ivr_port=0, ivr_trusted="127.0.0.1", ivr_calls=number, server_drain=1)
        house.start()
        try:
            found = re.search(r"ivr 1 \(pid (\d+)\) started", house.log())
            assert found, house.log()
            return asyncio.run(measure(house, number, int(found[1])))
        finally:
            house.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, nargs="*", default=CALLS, help="concurrent calls, one run each")
    chosen = parser.parse_args()
    os.environ.pop("PROVISIONER_IVR_PORT", None)
    rows = []
    for number in chosen.calls:
        rows.append(run(number))
        print(", ".join(f"{name} {value}" for name, value in rows[-1].items()))
    goals = {"cpu_percent_a_call": GOAL_PERCENT, "answer_ms_most": 1000 * GOAL_SECONDS}
    record.keep("ivr", " ".join(sys.argv), {"goals": goals, "runs": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
