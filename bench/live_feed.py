"""How soon a boot is seen: from the moment a worker answers for a file to its line in the live feed and in the page.

The real server with settings as they ship (what is written is written once a second), one simulated phone that boots
again and again, one who follows it by the API and one who has its page open. With ``--storm`` other phones boot beside
it. What the telling costs a worker is measured apart.

    python bench/live_feed.py [--boots 20] [--storm 0]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
import timeit
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp
import record

from provisioner import installation, pki, settings, trust
from provisioner.administrators import Administrators
from provisioner.fleet.fleet import Fleet
from provisioner.model import FetchRecord, ListenerKind, Mac, Proof, Scope
from provisioner.onlookers import Onlookers, Sight, Teller
from provisioner.roles import Role
from provisioner.roster import Roster
from provisioner.simulator import Phone, boot, load_persona
from provisioner.store.database import Store
from provisioner.vendors import drivers

GOAL = 0.5
"""s"""
OWNER, PASSWORD = "owner@example.net", "seven green bottles"
PAUSE = 1.3
"""s between boots, so that their files fall anywhere into the second in which a batch is written."""


def macs(count: int) -> list[Mac]:
    """The first is looked at."""
    return [Mac(f"0004f2{number:06x}") for number in range(1, count + 2)]


async def fill(data: Path, phones: list[Mac]) -> str:
    """Each phone with a line; the owner's session."""
    configured = settings.load(data)
    async with Store.of(configured) as store:
        fleet = Fleet(store, {one.manifest.name: one for one in drivers(data / "templates")}, actor="bench")
        account = (await fleet.add_account("Acme")).id
        user = (await fleet.add_user("Ada", account=account)).id
        await fleet.set_layer(Scope.DEFAULTS, "", {"sip.server": "pbx.example.net"})
        for number, mac in enumerate(phones, 1000):
            await fleet.add_device(mac, vendor="poly", model="VVX 411", account=account)
            await fleet.add_extension(str(number), account=account, user=user)
            await fleet.bind(mac, 1, extension=str(number), resync=False)
        roster, people = Roster(store, {}, configured), Administrators(store, configured)
        await roster.add_administrator(OWNER, role=Role.OWNER)
        await people.set_password((await roster.invite(OWNER)).link.partition("token=")[2], PASSWORD)
        return (await people.login(OWNER, PASSWORD)).token


def made(directory: Path, data: Path, phones: list[Mac]) -> list[Phone]:
    """Phones with certificates of a factory that is trusted here."""
    factory = pki.make_factory("poly", directory / "factory")
    trust.add(data, "poly", factory.cas_pem)
    found = []
    for mac in phones:
        chain, key = directory / f"{mac}.pem", directory / f"{mac}.key"
        leaf, key_pem, above = factory.leaf(mac)
        chain.write_bytes(leaf + above)
        key.write_bytes(key_pem)
        persona = load_persona("poly", "VVX 411")
        found.append(Phone(persona=persona, mac=mac, certificate=chain, key=key, trust=data / "tls" / "ca.pem",
                           check_name=False))  # fmt: skip
    return found


async def served(data: Path) -> tuple[asyncio.subprocess.Process, Mapping[str, int]]:
    """`provisioner serve`, and its ports."""
    ports = {f"PROVISIONER_{kind}_PORT": "0" for kind in ("DEVICE", "BOOTSTRAP", "ADMIN")}
    words = [sys.executable, "-m", "provisioner", "--data", str(data), "serve"]
    process = await asyncio.create_subprocess_exec(
        *words, env={**os.environ, **ports, "PROVISIONER_API_RATE": "10000"}, stderr=asyncio.subprocess.DEVNULL
    )
    for _ in range(300):
        with suppress(OSError, ValueError):
            bound = json.loads((data / "run" / "addresses.json").read_text())
            return process, {kind: at["port"] for kind, at in bound.items()}
        await asyncio.sleep(0.1)
    raise SystemExit("the server did not come up")


class Follower:
    """Somebody with the device's page open: told by the feed, has the page's part fetched then, as a browser does."""

    def __init__(self, session: aiohttp.ClientSession, url: str, mac: Mac) -> None:
        self._session, self._url, self._mac = session, url, mac
        self.in_feed: list[float] = []
        self.in_page: list[float] = []
        self._wanted: dict[str, float] = {}
        self._told = asyncio.Event()

    async def listen(self) -> None:
        """The live feed."""
        async with self._session.get(f"{self._url}/api/v1/events/stream?mac={self._mac}") as answer:
            kind = ""
            while line := (await answer.content.readline()).decode().rstrip("\n") or "-":
                name, _, value = line.partition(": ")
                kind = value if name == "event" else kind
                if name == "data" and kind == "fetch":
                    self._note(json.loads(value))

    def _note(self, told: Mapping[str, object]) -> None:
        at = float(str(told["at"]))
        self.in_feed.append(time.time() - at)
        self._wanted[str(told["file"])] = at
        self._told.set()

    async def look(self) -> None:
        """The part of the page that changes by itself."""
        while True:
            await self._told.wait()
            self._told.clear()
            wanted, self._wanted = self._wanted, {}
            headers = {"HX-Request": "true"}
            async with self._session.get(f"{self._url}/devices/{self._mac}/live", headers=headers) as answer:
                text = await answer.text()
            now = time.time()
            self.in_page += [now - at for file, at in wanted.items() if file in text]


async def beside(phones: list[Phone], url: str) -> None:
    """Others boot as fast as they can."""

    async def again(phone: Phone) -> None:
        while True:
            await boot(phone, url)

    await asyncio.gather(*(again(phone) for phone in phones))


async def watched(args: argparse.Namespace, directory: Path) -> dict[str, object]:
    """Boots, and when each of their files was seen."""
    data = directory / "data"
    installation.init(data)
    phones = made(directory, data, macs(args.storm))
    token = await fill(data, [one.mac for one in phones])
    process, ports = await served(data)
    try:
        url = f"http://127.0.0.1:{ports['admin']}"
        async with aiohttp.ClientSession(cookies={"provisioner": token}) as session:
            follower = Follower(session, url, phones[0].mac)
            device = f"https://localhost:{ports['device']}/"
            tasks = [asyncio.create_task(one) for one in (follower.listen(), follower.look())]
            tasks += [asyncio.create_task(beside(phones[1:], device))] if args.storm else []
            await asyncio.sleep(2)
            for _ in range(args.boots):
                await boot(phones[0], device)
                await asyncio.sleep(PAUSE)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return {"in_feed_ms": told(follower.in_feed), "in_page_ms": told(follower.in_page)}
    finally:
        process.terminate()
        await process.wait()


def told(seconds: list[float]) -> dict[str, float]:
    """In ms."""
    if not seconds:
        raise SystemExit("nothing was seen")
    whole = sorted(one * 1000 for one in seconds)
    rank = max(0, -(-len(whole) * 99 // 100) - 1)
    return {
        "files": len(whole), "median": round(statistics.median(whole), 1), "p99": round(whole[rank], 1),
        "longest": round(whole[-1], 1),
    }  # fmt: skip


def costs() -> dict[str, float]:
    """What telling takes of a worker, in µs a file."""
    sight = Sight()
    onlookers, teller = Onlookers(sight), Teller(sight)
    mac, other = macs(1)
    how = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "6.4.0.1")
    one = FetchRecord(mac, "0004f2000001.cfg", time.time(), 200, 4000, "ab" * 32, *how)

    def microseconds(count: int) -> float:
        return round(min(timeit.repeat(lambda: teller.fetched(one), number=count, repeat=5)) / count * 1e6, 3)

    nobody = microseconds(100_000)
    with onlookers.looking(other):
        another = microseconds(100_000)
    with onlookers.looking(mac):
        own = min(microseconds(100) for _ in range(20) if not drained(sight))
    sight.close()
    return {"nobody_looks_us": nobody, "another_is_looked_at_us": another, "it_is_looked_at_us": own}


def drained(sight: Sight) -> bool:
    """Take what waits, so that there is room; never a reason to stop."""
    with suppress(BlockingIOError):
        while sight.near.recv(65536):
            pass
    return False


def main() -> None:
    """Both figures, then the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boots", type=int, default=20)
    parser.add_argument("--storm", type=int, default=0, help="phones that boot beside it without end")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        seen = asyncio.run(watched(args, Path(directory)))
    figures = {"boots": args.boots, "others": args.storm, "goal_ms": GOAL * 1000, **seen, "worker": costs()}
    print(json.dumps(figures, indent=1))
    name = "live-feed" if not args.storm else "live-feed-busy"
    record.keep(name, " ".join(["bench/live_feed.py", *sys.argv[1:]]), figures, args.out)


if __name__ == "__main__":
    main()
