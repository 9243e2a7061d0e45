"""A whole server with a worker of thirty lines: python tests/tiny_server.py DATA. Says what it is over plain TCP."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from pathlib import Path

from provisioner.children import REFUSED, Lifeline
from provisioner.errors import StoreFailed, Unusable
from provisioner.model import ListenerKind
from provisioner.ports import bind
from provisioner.run_directory import RunDirectory
from provisioner.settings import load
from provisioner.supervisor import House, Sockets, Supervisor
from provisioner.tenure import Tenure

DATA = Path(sys.argv[1])
log = logging.getLogger("tiny")


def ignore(_: object) -> None:
    """Neither the lag nor the news are wanted."""


async def answer(word: str, text: str, writer: asyncio.StreamWriter) -> None:
    if word == "stall":
        time.sleep(60)  # noqa: ASYNC251  # the point of it
    if word == "slow":
        for _ in range(10):
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.1)
    writer.write(f"{os.getpid()} {text}\n".encode())
    await writer.drain()


async def live(sockets: Sockets, text: str, line: Lifeline) -> int:
    if text == "refuse":
        raise Unusable("this equipment cannot be used; bring another")
    if text == "crash":
        return 1
    open_: set[asyncio.Task[None]] = set()
    gone = asyncio.Event()
    gone.set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_.add(task)
        gone.clear()
        with contextlib.suppress(ConnectionError):
            while word := (await reader.readline()).decode().strip():
                await answer(word, text, writer)
        writer.close()
        open_.discard(task)
        if not open_:
            gone.set()

    async def idle() -> None:
        await gone.wait()

    server = await asyncio.start_server(talk, sock=sockets[ListenerKind.DEVICE])
    async with Tenure(line, ignore, ignore) as tenure:
        await tenure.until_told_to_leave()
        server.close()
        await tenure.until_idle_or_drain(idle)
        await asyncio.wait([asyncio.create_task(idle())], timeout=5)
    return 0


def worker_main(sockets: Sockets, text: str, line: Lifeline) -> int:
    try:
        return asyncio.run(live(sockets, text, line))
    except Unusable as error:
        log.error(error.cause)
        return REFUSED


async def tell(sock: socket.socket, line: Lifeline) -> int:
    state = "{}"

    def told(news: str) -> None:
        nonlocal state
        state = news

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(state.encode())
        writer.close()

    await asyncio.start_server(talk, sock=sock)
    async with Tenure(line, ignore, told) as tenure:
        await tenure.until_told_to_leave()
    return 0


def prepare() -> str:
    text = (DATA / "equipment").read_text()
    if text == "bad":
        raise Unusable("the equipment is bad; mend it")
    if text == "odd":
        raise ValueError("nobody thought of this")
    if text == "gone":
        raise FileNotFoundError("the equipment went while it was read")
    if text == "refused":
        raise StoreFailed("the store is away")
    return text


def main() -> int:
    logging.basicConfig(level="INFO", format="%(message)s")
    settings = load(DATA)
    run_directory = RunDirectory(DATA)
    try:
        run_directory.claim()
        sockets = bind(settings)
        house = House(
            prepare=prepare,
            worker_main=worker_main,
            admin_main=lambda sock, line: asyncio.run(tell(sock, line)),
            watched=lambda: [DATA / "equipment"],
            buried=lambda slot: log.info("buried %d", slot),
            withdrawn=lambda _, text: text.startswith("less"),
        )
        return Supervisor(settings, sockets, run_directory, house).run()
    except Unusable as error:
        log.error(error.cause)
        return REFUSED
    finally:
        run_directory.release()


if __name__ == "__main__":
    sys.exit(main())
