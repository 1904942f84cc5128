"""A program that enqueues one message after the other and writes down each id once it is promised to be safe."""

from __future__ import annotations

import asyncio
import os

from tests.integration.apps.jobs import queue, quick, write


async def main() -> None:
    """For ever; the test ends it."""
    async with queue:
        number = 0
        while True:
            handle = await quick.enqueue(number)
            write(f"{handle.id} 0 {os.getpid()} enqueued")
            number += 1


if __name__ == "__main__":
    asyncio.run(main())
