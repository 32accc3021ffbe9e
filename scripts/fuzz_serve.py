#!/usr/bin/env python
"""Send fcos-serve what nobody should: python scripts/fuzz_serve.py CKPT 1000 1.

Every body has to be answered by a status of 4xx and one line of JSON, and after each tenth an image
has to be answered as before. Status 1 if any was not, or if the server ended. The same count and
seed make the same bodies.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))

from hostile.bodies import PIXELS, bodies
from load_serve import running

#: An answer that takes longer tells of something that blows up.
SLOW_S = 10.0


def main(words: Sequence[str] | None = None) -> int:
    """Run a server, send, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ckpt", type=Path)
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    options = parser.parse_args(words)
    limits = (f"max_pixels={PIXELS}", "max_bytes=2000000")
    with running(options.ckpt, limits) as address, httpx.Client(base_url=address) as client:
        statuses, faults = sent(client, options.count, options.seed)
    print(", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())))
    for fault in faults[:20]:
        print(f"fault: {fault}")
    print(f"{sum(statuses.values())} bodies, {len(faults)} faults")
    return 1 if faults else 0


def sent(client: httpx.Client, count: int, seed: int) -> tuple[Counter[int], list[str]]:
    """Send bodies, and return the statuses and what is wrong with answers."""
    out = io.BytesIO()
    Image.effect_mandelbrot((90, 64), (-2, -1, 1, 1), 30).convert("RGB").save(out, "PNG")
    statuses: Counter[int] = Counter()
    faults: list[str] = []
    for number, body in enumerate(bodies(count, seed)):
        began = time.monotonic()
        headers = {"content-type": body.content_type}
        try:
            answer = client.post("/detect", content=body.content, headers=headers, timeout=60)
        except httpx.HTTPError as error:
            faults.append(f"{body.what}: {type(error).__name__}")
            continue
        statuses[answer.status_code] += 1
        took = time.monotonic() - began
        if fault := fault_of(answer, took):
            faults.append(f"{body.what}: {fault}")
        if number % 10 == 0:
            good = client.post("/detect", content=out.getvalue(), timeout=60)
            if good.status_code != 200:
                faults.append(f"after {body.what}: an image is answered by {good.status_code}")
    return statuses, faults


def fault_of(answer: httpx.Response, took_s: float) -> str | None:
    """Return what is wrong with the answer to a body that is none; None if nothing is."""
    if not 400 <= answer.status_code < 500:
        return f"status {answer.status_code}"
    try:
        told = json.loads(answer.content)["error"]
    except (ValueError, KeyError, TypeError):
        return f"no JSON: {answer.content[:100]!r}"
    if not isinstance(told, str) or not told.isprintable():
        return f"no single line: {told!r}"
    return f"took {took_s:.1f} s" if took_s > SLOW_S else None


if __name__ == "__main__":
    sys.exit(main())
