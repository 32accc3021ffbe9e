"""Training images out of shards on object storage, beside the folder that they were packed from.

The object storage is moto's S3 server in a process of its own on this machine, which answers every
request 20 ms late. The folder is on the local disk, so it is the most that can be reached.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import SIDES, draw_images
from benchmarks.measure import Figure, Result, median, not_installed
from fcos_lightning.data import AutoDataModule
from fcos_lightning.data.stores.packing import Packer
from fcos_lightning.data.stores.places import place_of

TITLE = "training data from object storage"

IMAGES = 600
#: So that there are some dozen shards, as of a large data set in a window.
SHARD_BYTES = 8_000_000
LATE_S = 0.02
PEER = "the folder, on a local disk"
SCRIPTS = Path(__file__).resolve().parents[1]
ROOT = "s3://bucket/packed"


def absent() -> str | None:
    """Say why this machine cannot run the row."""
    if not Path("/proc/self/smaps_rollup").exists():
        return "memory is counted as Linux does"
    return not_installed("moto", "s3fs")


# What the processes do


def serve(late_s: float) -> None:
    """Be an S3 server until standard input ends; its port is printed."""
    import logging
    import threading

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = DomainDispatcherApplication(create_backend_app)

    def answer(request: Any, start: Any) -> Any:  # noqa: ANN401  # as WSGI has them
        time.sleep(late_s)
        return moto(request, start)

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


def epoch(root: str, workers: int) -> dict[str, float]:
    """Go through an epoch in this process, which is fresh; return images a second and memory."""
    data = AutoDataModule(
        root,
        train_split="train2017",
        val_split="train2017",
        test_split=None,
        batch_size=8,
        num_workers=workers,
        shorter_side=SIDES[0],
        longer_side=SIDES[1],
    )
    loader = data.train_dataloader()
    began = time.perf_counter()
    images, of_worker, ids = 0, 0.0, []
    for batch in loader:
        images += len(batch.image_ids)
        ids.append(batch.image_ids.tolist())
        if images % 80 == 0:
            of_worker = max([of_worker, *(_own_mb(child.pid or 0) for child in active_children())])
    seconds = time.perf_counter() - began
    order = float(np.array(ids).ravel() @ np.arange(images) % 1_000_003)
    return {"images/s": images / seconds, "mb": of_worker, "order": order}


def _own_mb(process: int) -> float:
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    return sum(map(int, re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", rollup, re.M))) / 1000


# Measuring


@contextmanager
def _served(folder: Path) -> Iterator[dict[str, str]]:
    """Run the server; give what the processes that ask it need in their environment."""
    command = [sys.executable, "-m", "benchmarks.shards", "serve", str(LATE_S)]
    paths = [str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None and server.stdin is not None
        port = int(server.stdout.readline())
        environment |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_DEFAULT_REGION": "us-east-1",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
        }
        yield environment
        server.stdin.close()


def _alone(environment: dict[str, str], task: str, *words: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.shards", task, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stdout}{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def pack(root: str) -> dict[str, float]:
    """Pack a folder onto the server."""
    import s3fs

    s3fs.S3FileSystem().mkdir("bucket")
    data = AutoDataModule(
        root, train_split="train2017", val_split="train2017", test_split=None, batch_size=8
    )
    began = time.perf_counter()
    splits = data.whole_splits()
    index = Packer(place_of(ROOT, "out"), SHARD_BYTES).pack(splits, "x", "coco")
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "shards": len(index.sets[0].shards)}


def run(rounds: int, images: int = IMAGES, workers: int = 1) -> Result:
    """Measure the first epoch, the next one from the cache, and the memory of a loader process."""
    folder, first, cached = [], [], []
    with tempfile.TemporaryDirectory() as name, _served(Path(name)) as environment:
        drawn = Path(name, "coco")
        draw_images(drawn, images)
        packed = _alone(environment, "pack", str(drawn))
        for _ in range(rounds):
            shutil.rmtree(Path(name, "cache"), ignore_errors=True)
            folder.append(_alone(environment, "epoch", str(drawn), str(workers)))
            first.append(_alone(environment, "epoch", ROOT, str(workers)))
            cached.append(_alone(environment, "epoch", ROOT, str(workers)))
    if len({one["order"] for one in (*folder, *first, *cached)}) != 1:
        raise RuntimeError("the batches differ")

    def column(found: list[dict[str, float]], what: str) -> list[float]:
        return [one[what] for one in found]

    theirs = column(folder, "images/s")
    extra = [one["mb"] - other["mb"] for one, other in zip(cached, folder, strict=True)]
    figures = [
        Figure(
            f"first epoch, every answer {LATE_S * 1000:.0f} ms late",
            PEER,
            "images/s",
            column(first, "images/s"),
            theirs,
            target=0.7,
            higher_is_better=True,
        ),
        Figure(
            "next epoch, from the cache",
            PEER,
            "images/s",
            column(cached, "images/s"),
            theirs,
            target=0.9,
            higher_is_better=True,
        ),
        Figure(
            "memory of its own that a loader process has",
            PEER,
            "MB",
            column(cached, "mb"),
            column(folder, "mb"),
        ),
    ]
    notes = [
        f"{images} drawn images of COCO's size in {packed['shards']:.0f} shards of at most "
        f"{SHARD_BYTES / 1e6:.0f} MB, {workers} loader process; all three epochs have the same "
        f"batches. Packing took {packed['seconds']:.1f} s. A loader process has "
        f"{median(extra):+.0f} MB more with shards. Server and loader share the processors."
    ]
    return Result(figures, notes)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(float(sys.argv[2]))
    elif sys.argv[1] == "pack":
        print(json.dumps(pack(sys.argv[2])))
    else:
        print(json.dumps(epoch(sys.argv[2], int(sys.argv[3]))))
