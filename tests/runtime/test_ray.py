"""``runtime/ray``: fcos-serve's application as Ray Serve runs it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.inference.scenes import SIDES, write_checkpoint

from fcos_lightning import Predictor
from fcos_lightning.serving.server import bound_socket

FOLDER = Path(__file__).resolve().parents[2] / "runtime" / "ray"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("ray") / "best.ckpt", **SIDES)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("photo") / "photo.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    return file


class Serve(ModuleType):
    """What of ``ray.serve`` the handler calls, without Ray."""

    def __init__(self) -> None:
        super().__init__("ray.serve")
        self.Application = object
        self.options: dict[str, Any] = {}

    def ingress(self, builder: Any) -> Any:
        return lambda: builder

    def deployment(self, builder: Any, **options: Any) -> Any:
        self.options = options
        deployed = ModuleType("deployed")
        deployed.bind = lambda: builder  # type: ignore[attr-defined]
        return deployed


def test_a_copy_answers_as_a_predictor_does(
    checkpoint: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve, ray = Serve(), ModuleType("ray")
    ray.serve = serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.serve", serve)
    monkeypatch.setenv("FCOS_TOKEN", "s3cret")
    spec = importlib.util.spec_from_file_location("detector_on_ray", FOLDER / "detector.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    words = {"ckpt": str(checkpoint), "copies": "3", "device": "cpu"}
    app = module.built(words)()
    assert serve.options["num_replicas"] == 3
    assert serve.options["ray_actor_options"] == {"num_cpus": 1}

    async def run() -> tuple[httpx.Response, httpx.Response]:
        async with (
            app._app.router.lifespan_context(app._app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://any") as client,
        ):
            ask = {"url": "/detect?score_threshold=0", "content": photo.read_bytes()}
            locked = {"authorization": "Bearer s3cret"}
            return await client.post(**ask), await client.post(**ask, headers=locked)

    refused, answer = asyncio.run(run())
    wanted = Predictor.load(checkpoint, device="cpu")(photo)
    assert refused.status_code == 401 and answer.status_code == 200 and len(wanted) > 3
    assert answer.json()["boxes"] == wanted.boxes_xyxy.tolist()
    assert answer.json()["scores"] == wanted.scores.tolist()


PROGRAM = """
import json, sys, urllib.error, urllib.request
import ray
from ray import serve

folder, ckpt, photo, port, temporary = sys.argv[1:]
sys.path.insert(0, folder)
import detector

ray.init(address="local", num_cpus=2, include_dashboard=False, _temp_dir=temporary)
serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
serve.run(detector.built({"ckpt": ckpt, "copies": "2", "device": "cpu"}), route_prefix="/")
url, content = f"http://127.0.0.1:{port}/detect?score_threshold=0", open(photo, "rb").read()
answers = []
for sent, token in [(content, "s3cret")] * 10 + [(content, "wrong"), (b"none", "s3cret")]:
    headers = {"Content-Type": "image/png", "Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, sent, headers)) as answer:
            answers.append([answer.status, json.load(answer)])
    except urllib.error.HTTPError as error:
        answers.append([error.code, json.load(error)])
serve.shutdown()
ray.shutdown()
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_ray_serve_answers_as_a_predictor_does(checkpoint: Path, photo: Path) -> None:
    """With Ray itself, which is no part of the environment for tests: pip install 'ray[serve]'."""
    pytest.importorskip("ray.serve")
    with bound_socket("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as temporary:  # a short path, in which sockets can lie
        words = (FOLDER, checkpoint, photo, port, temporary)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "FCOS_TOKEN": "s3cret", "PYTHONPATH": str(FOLDER)},
        )
    assert done.returncode == 0, done.stderr[-3000:]
    *good, locked, broken = json.loads(done.stdout.splitlines()[-1])
    wanted = Predictor.load(checkpoint, device="cpu")(photo)
    for status, answer in good:
        assert status == 200 and answer["boxes"] == wanted.boxes_xyxy.tolist()
        assert answer["scores"] == wanted.scores.tolist()
    assert len(good) == 10 and locked[0] == 401 and broken[0] == 422
