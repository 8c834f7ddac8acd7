"""Run as a program: workers of a scheduler, each split off a process that has loaded all.

Arguments: the scheduler's address, how many there should be. Whenever one dies, another is
started, as quick as may be, with an address of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import mapped_functions
from distributed import Worker

import flexsim.workers.batches


def main(address: str, number: str) -> None:
    assert mapped_functions
    assert flexsim.workers.batches
    for _ in range(int(number)):
        _begin(address)
    while True:
        os.wait()
        _begin(address)


def _begin(address: str) -> None:
    if not os.fork():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        asyncio.run(_work(address))
        os._exit(0)


async def _work(address: str) -> None:
    async with Worker(address, nthreads=1, memory_limit=0, dashboard=False) as worker:
        await worker.finished()


if __name__ == "__main__":
    main(*sys.argv[1:])
