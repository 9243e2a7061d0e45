"""The power fails while administrators write and phones upload: what was acknowledged is there when it comes back."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from house import SECRET, House
from stage import add, administer, certificate, kill_all, no_canary, no_traceback

from provisioner.errors import NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac, Scope
from provisioner.store.uploads import UploadShelf, owner_of

ROUNDS = 20
VVX = "0004f2ac0001"
DESK = Path(__file__).with_name("busy_desk.py")
STRIDE = 1000


def power_cut_after(house: House, seconds: float, number: int, chain: tuple[Path, Path]) -> tuple[list[str], int]:
    """Start desk and server and kill -9 them all: what the desk was told, and the last acknowledged upload."""
    command = [sys.executable, str(DESK), str(house.data), str(number * STRIDE), SECRET]
    uploaded, over = [-1], threading.Event()

    def upload() -> None:
        turn = 0
        while not over.is_set():
            body = f"<a round='{number}' turn='{turn}'/>".encode()
            with contextlib.suppress(OSError, http.client.HTTPException):
                if house.get(f"/{VVX}-phone.cfg", chain, method="PUT", body=body)[0] == 201:
                    uploaded[0] = turn
            turn += 1

    phone = threading.Thread(target=upload)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as desk:
        try:
            house.start()
            assert desk.stdout is not None
            first = desk.stdout.readline()
            phone.start()
            time.sleep(seconds)
        finally:
            desk.kill()
            kill_all(house)
            over.set()
        phone.join()
        rest, said = desk.communicate()
    assert b"Traceback" not in said, said
    return (first + rest).decode().splitlines(), uploaded[0]


def missing(house: House, told: list[str]) -> list[str]:
    """What was acknowledged and is not there; secrets are opened for the last few, as that is a write itself."""

    async def there(fleet: Fleet, kind: str, number: str, *, last: bool) -> bool:
        mac, extension = Mac(f"001565{int(number):06x}"), f"9{int(number):05d}"
        if kind == "device":
            return (await fleet.device(mac)).vendor == "yealink"
        if kind == "line":
            bound = [one.number for one in await fleet.bindings(mac, active=True)]
            return bound == [extension] and (not last or await fleet.reveal_secret(extension) == f"{SECRET}{number}")
        return (await fleet.layer(Scope.DEVICE, mac)).values == {"time.ntp": f"ntp-{number}.example"}

    async def look(fleet: Fleet) -> list[str]:
        lost = []
        for place, line in enumerate(told, 1):
            try:
                good = await there(fleet, *line.split(), last=place > len(told) - 6)
            except NotFound:
                good = False
            lost += [] if good else [line]
        return lost

    return administer(house, look)


@pytest.mark.timeout(240)
# Python 3.11's ssl leaves a socket to the collector when the server is gone before the handshake begins.
@pytest.mark.slow  # kill -9 again and again
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_nothing_acknowledged_is_lost_and_it_always_starts_again(blank: House, tmp_path: Path) -> None:
    house = blank.copy(tmp_path, store_flush=0.05)
    add(house, (VVX, "poly", "VVX 411", "41001"))
    chain = certificate(house, "poly", VVX)
    acknowledged = uploads = 0
    told: list[str] = []
    turn = -1
    try:
        for number in range(1, ROUNDS + 1):
            # A moment that differs from round to round, by some part of a transaction.
            told, turn = power_cut_after(house, 0.1 + number * 0.0137, number, chain)
            assert missing(house, told) == []
            assert turn < 0 or _turn(stored(house), number) >= turn
            acknowledged += len(told)
            uploads += turn + 1
        house.start()
        assert turn < 0 or _turn(house.get(f"/{VVX}-phone.cfg", chain)[2], ROUNDS) >= turn
        assert acknowledged >= 3 * ROUNDS
        assert uploads > 0
        done = subprocess.run(
            [sys.executable, "-m", "provisioner", "doctor", "--data", str(house.data)],
            env=dict(os.environ), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        house.stop()
    no_traceback(house)
    no_canary(house)


def stored(house: House) -> bytes:
    """The upload as the next server will find it."""

    async def read(fleet: Fleet) -> bytes:
        async with fleet._store.reading() as connection:
            owner = await owner_of(connection, Mac(VVX))
        return await UploadShelf(fleet._store).get(Mac(VVX), f"{VVX}-phone.cfg", owner) or b""

    return administer(house, read)


def _turn(body: bytes, number: int) -> int:
    text = body.decode()
    assert f"round='{number}'" in text
    return int(text.split("turn='")[1].split("'")[0])
