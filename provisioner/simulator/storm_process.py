"""The program of one process of the crowd: a pickled Task on standard input, pickled messages on standard output.

When the parent closes the pipe or dies, this ends at once; when it sends HALT, after telling what there is to tell.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import resource
import signal
import sys
from typing import BinaryIO

from provisioner.simulator.storm_crowd import HALT, Crowd, Ended, Message, Prepared, Task, raise_descriptors


def main(source: BinaryIO, sink: BinaryIO) -> None:
    """Read the task, say that it is prepared, read when to begin, play."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what Ctrl-C means is the parent's to decide

    def tell(message: Message) -> None:
        pickle.dump(message, sink)
        sink.flush()

    task: Task = pickle.load(source)  # noqa: S301  # from our own parent
    raise_descriptors(task)
    crowd = Crowd(task, tell)
    crowd.prepare()
    tell(Prepared())
    begin: float = pickle.load(source)  # noqa: S301  # from our own parent
    asyncio.run(_play(crowd, begin, source.fileno()))
    used = resource.getrusage(resource.RUSAGE_SELF)
    tell(Ended(used.ru_utime + used.ru_stime))


async def _play(crowd: Crowd, begin: float, parent: int) -> None:
    loop = asyncio.get_running_loop()
    loop.add_reader(parent, os._exit, 1)  # nothing more is sent: it becomes readable when it is closed
    loop.add_signal_handler(HALT, crowd.halt)
    try:
        await crowd.run(begin)
    finally:
        loop.remove_reader(parent)
        loop.remove_signal_handler(HALT)


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
