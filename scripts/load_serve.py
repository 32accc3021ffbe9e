#!/usr/bin/env python
"""Load fcos-serve on this machine: python scripts/load_serve.py CKPT.

Measures what the server can do with a few clients that each wait for their answer, then sends twice
as much for a minute, whether answers come or not, and prints what came of it: statuses, times of
the accepted requests, memory. Status 1 if there was any error but 429, a time above the server's
own limit, or memory that grew.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
from PIL import Image

#: A client that does not see an answer for so long counts it as an error.
_PATIENCE_S = 60.0
#: Requests that wait at a time at most, whatever the rate.
_MOST_OPEN = 256
#: What memory may grow by between the first and the last quarter, in MB.
_GROWTH_MB = 60.0
_MEMORY = re.compile(r"^process_resident_memory_bytes (\S+)", re.MULTILINE)
_BATCHES = re.compile(r"^fcos_(?:batch_images_count|images_total) (\S+)", re.MULTILINE)


@dataclass
class Seen:
    """What clients saw.

    Attributes:
        statuses: how often each came; 0 stands for none.
        accepted_s: how long each accepted request took.
        memory_mb: of the server, once a second.
        late: requests that were not sent, since too many were open.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    accepted_s: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    late: int = 0


def main(words: Sequence[str] | None = None) -> int:
    """Run a server, load it, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ckpt", type=Path)
    parser.add_argument("serve", nargs="*", help="further words of fcos-serve")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the load")
    parser.add_argument("--times", type=float, default=2.0, help="what the server can do")
    options = parser.parse_intermixed_args(words)
    with running(options.ckpt, options.serve) as address:
        return asyncio.run(loaded(address, options.seconds, options.times))


@contextmanager
def running(checkpoint: Path, words: Sequence[str]) -> Iterator[str]:
    """Run a server, and give its address."""
    command = [sys.executable, "-m", "fcos_lightning", "serve", f"ckpt={checkpoint}", "port=0"]
    # Its log is read to its first line, and then written to nowhere.
    with subprocess.Popen([*command, *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ready = json.loads(process.stdout.readline())
            reader = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
            yield ready["address"]
        finally:
            process.terminate()
            process.wait(60)
            reader.wait(10)


def photos(count: int = 16, height: int = 480, width: int = 640) -> list[bytes]:
    """Return drawn JPEG files of one size."""
    files = []
    for seed in range(count):
        small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(small).resize((width, height)).save(out, "JPEG")
        files.append(out.getvalue())
    return files


async def loaded(address: str, seconds: float, times: float) -> int:
    """Measure, load, and print."""
    files = photos()
    limit = aiohttp.ClientTimeout(total=_PATIENCE_S)
    connector = aiohttp.TCPConnector(limit=_MOST_OPEN)
    async with aiohttp.ClientSession(address, timeout=limit, connector=connector) as client:
        await at_ease(client, files, 5.0, 8)  # the first passes are slow
        seen = await at_ease(client, files, 15.0, 8)
        rate = seen.statuses[200] / 15.0
        alone = await at_ease(client, files, 5.0, 1)
        print(f"one client: {alone.statuses[200] / 5.0:.1f} images/s")
        print(f"eight clients: {rate:.1f} images/s, {times_of(seen.accepted_s)}")
        seen = await pressed(client, files, seconds, rate * times)
    return told(seen, seconds, rate * times)


async def at_ease(
    client: aiohttp.ClientSession, files: Sequence[bytes], seconds: float, clients: int
) -> Seen:
    """Have clients ask one request after the other."""
    seen, end = Seen(), time.monotonic() + seconds

    async def one(number: int) -> None:
        while time.monotonic() < end:
            await ask(client, files[number % len(files)], seen)
            number += 1

    await asyncio.gather(*map(one, range(clients)))
    return seen


async def pressed(
    client: aiohttp.ClientSession, files: Sequence[bytes], seconds: float, rate: float
) -> Seen:
    """Send requests at a rate, whatever comes of those before."""
    seen, began = Seen(), time.monotonic()
    open_ones: set[asyncio.Task[None]] = set()
    watch = asyncio.create_task(remembered(client, seen, began + seconds))
    for number in range(int(seconds * rate)):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        if len(open_ones) >= _MOST_OPEN:
            seen.late += 1
            continue
        task = asyncio.create_task(ask(client, files[number % len(files)], seen))
        open_ones.add(task)
        task.add_done_callback(open_ones.discard)
    await asyncio.gather(*open_ones)
    await watch
    return seen


async def ask(client: aiohttp.ClientSession, content: bytes, seen: Seen) -> None:
    """Ask once."""
    began = time.monotonic()
    try:
        async with client.post("/detect", data=content) as answer:
            await answer.read()
            seen.statuses[answer.status] += 1
            if answer.status == 200:
                seen.accepted_s.append(time.monotonic() - began)
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
        seen.statuses[0] += 1


async def remembered(client: aiohttp.ClientSession, seen: Seen, end: float) -> None:
    """Keep what the server says of its memory, once a second."""
    while time.monotonic() < end:
        async with client.get("/metrics") as answer:
            found = _MEMORY.search(await answer.text())
        if found is not None:
            seen.memory_mb.append(float(found[1]) / 1e6)
        await asyncio.sleep(1.0)


def times_of(took_s: Sequence[float]) -> str:
    """Return the median, and what 99 of 100 requests stay below."""
    if len(took_s) < 2:
        return "no time"
    cuts = statistics.quantiles(took_s, n=100)
    return f"p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms"


def told(seen: Seen, seconds: float, rate: float) -> int:
    """Print what came of the load, and return the status."""
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(seen.statuses.items()))
    quarter = max(1, len(seen.memory_mb) // 4)
    first = statistics.median(seen.memory_mb[:quarter])
    last = statistics.median(seen.memory_mb[-quarter:])
    print(f"{rate:.1f} requests/s for {seconds:g} s: {statuses}; not sent: {seen.late}")
    print(f"accepted: {seen.statuses[200] / seconds:.1f} images/s, {times_of(seen.accepted_s)}")
    print(f"memory: {first:.0f} MB in the first quarter, {last:.0f} MB in the last")
    errors = sum(count for status, count in seen.statuses.items() if status not in (200, 429))
    fine = errors == 0 and seen.statuses[200] > 0 and last - first < _GROWTH_MB
    print("fine" if fine else "not fine")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
