"""``fcos-serve``: what is refused before anything is served, and a server from start to end."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.cli.running import Command
from tests.inference.scenes import SIDES, write_checkpoint

from fcos_lightning import Predictor
from fcos_lightning.serving.server import bound_socket


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("serve") / "best.ckpt", **SIDES)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "ckpt= is missing"),
        (["ckpt=none.ckpt"], "none.ckpt"),
        (["ckpt=a", "prot=1"], "prot: there is no such setting; is port meant?"),
        (["ckpt=a", "port=http"], "port=http: give a whole number"),
        (["ckpt=a", "port=99999"], "port=99999: give 0 to 65535"),
        (["ckpt=a", "host=no.such.host.invalid"], "host=no.such.host.invalid: other machines"),
        (["ckpt=a", "host=0.0.0.0"], "host=0.0.0.0: other machines could use the detector"),
        (["ckpt=a", "host=::", "open=false"], "FCOS_TOKEN or token_file=, or say open=true"),
        (["ckpt=a", "host=no.such.host.invalid", "open=true"], "no place of this machine"),
        (["ckpt=a", "token='two words'"], "token=: a token is one word"),
        (["ckpt=a", "token_file=none"], "token_file=none: cannot be read"),
        (["ckpt=a", "score_threshold=2"], "score_threshold=2: give 0 to 1"),
        (["ckpt=a", "score_threshold=nan"], "score_threshold=nan: give 0 to 1"),
        (["ckpt=a", "queue=0"], "queue=0: give a whole number of at least 1"),
        (["ckpt=a", "batch_size=1.5"], "batch_size"),
        (["ckpt=a", "threads=0"], "threads=0: give a whole number of at least 1"),
        (["ckpt=a", "timeout_s=0"], "timeout_s=0: give a number above 0"),
        (["ckpt=a", "timeout_s=inf"], "timeout_s=inf: give a number above 0"),
        (["ckpt=a", "delay_ms=-1"], "delay_ms=-1: give a number of at least 0"),
        (["ckpt=a", "max_bytes=0"], "max_bytes=0: give a whole number of at least 1"),
        (["ckpt=a", "urls=maybe"], "urls=maybe: give true or false"),
        (["ckpt=a", "private_urls=true"], "private_urls=true: is about addresses; add urls=true"),
        (["ckpt=a", "hosts=detector.example"], "hosts=detector.example: give a list of texts"),
        (["ckpt=a", "device=tpu", "port=0"], "a"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    words: list[str], told: str, command: Command
) -> None:
    result = command("serve", *words)
    assert result.code == 2 and result.out == ""
    (line,) = [line for line in result.err.splitlines() if not line.startswith("note: ")]
    assert line.startswith("error: ") and told in line, line


def test_a_port_that_is_taken_is_said_before_the_checkpoint_is_read(command: Command) -> None:
    with bound_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        result = command("serve", "ckpt=none.ckpt", f"port={port}")
    assert result.code == 2 and f"port={port}: cannot be listened on" in result.err


def test_what_is_not_installed_is_said(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        "fcos_lightning.extras.find_spec",
        lambda name: None if name in ("uvicorn", "fastapi") else plain(name),
    )
    result = command("serve", "ckpt=none.ckpt")
    assert result.code == 2 and "fcos-serve needs fastapi, uvicorn: pip install" in result.err


def test_a_token_on_the_command_line_is_advised_against(command: Command) -> None:
    result = command("serve", "ckpt=none.ckpt", "token=s3cret", "port=0")
    assert result.code == 2 and "FCOS_TOKEN or token_file=" in result.err
    assert "s3cret" not in result.err + result.out


def asked(request: urllib.request.Request) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_server_from_its_start_to_its_end(checkpoint: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    words = ["serve", f"ckpt={checkpoint}", "port=0", "device=cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fcos_lightning", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "FCOS_TOKEN": "s3cret"},
    )
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline())
        assert ready["event"] == "ready"
        url = f"{ready['address']}detect?score_threshold=0"
        content = (tmp_path / "photo.png").read_bytes()
        plain = {"Content-Type": "image/png"}
        assert asked(urllib.request.Request(url, content, plain))[0] == 401
        locked = {**plain, "Authorization": "Bearer s3cret"}
        status, answer = asked(urllib.request.Request(url, content, locked))
        assert status == 200
        wanted = Predictor.load(checkpoint, device="cpu")(tmp_path / "photo.png")
        assert answer["boxes"] == wanted.boxes_xyxy.tolist() and len(wanted) > 3
        assert answer["scores"] == wanted.scores.tolist() and answer["model"] == "best.ckpt"
        if Path("/proc/self/cmdline").exists():
            assert "s3cret" not in Path(f"/proc/{process.pid}/cmdline").read_text()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0 and err == ""
    lines = [json.loads(line) for line in out.splitlines()]
    requests = [line["status"] for line in lines if line["event"] == "request"]
    assert requests == [401, 200] and "s3cret" not in out
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
