"""The search of the recipe: its pictures, the order of its jobs, that it goes on, its table."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from fcos_lightning.cli import sweep  # noqa: E402
from fcos_lightning.data import CocoDataModule  # noqa: E402
from fcos_lightning.sweeps.space import parse_space  # noqa: E402
from recipe import driver as driving  # noqa: E402
from recipe import peer  # noqa: E402
from recipe.jobs import METHODS, PEER, Job, Plan, Setting  # noqa: E402
from recipe.scenes import Cut, compose  # noqa: E402
from recipe.sets import Place, made_of_two, write_coco  # noqa: E402
from recipe.table import table  # noqa: E402

PLACES = [Place(name, (f"data.root={name}", "a=1", "b=2")) for name in ("cells", "digits")]


def square(label: int = 0) -> Cut:
    return Cut(np.full((40, 40, 3), 255, np.float32), np.ones((40, 40), np.float32), label)


def test_boxes_are_tight_around_what_is_seen() -> None:
    for seed in range(20):
        chance = np.random.default_rng(seed)
        black = np.zeros((240, 320, 3), np.float32)
        scene = compose(black, lambda _: square(), chance, most=1)
        bright = scene.rgb.mean(axis=2) > 110
        ys, xs = np.nonzero(bright)
        ((x1, y1, x2, y2),) = scene.boxes_xyxy
        assert (
            abs(np.array([x1, y1, x2, y2]) - [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]).max()
            <= 3
        )
        assert 0 <= x1 < x2 <= 320 and 0 <= y1 < y2 <= 240


def test_no_object_is_hidden_and_a_seed_gives_one_picture() -> None:
    labels = iter(range(1000))

    def scene(seed: int) -> Any:
        nonlocal labels
        labels = iter(range(1000))
        black = np.zeros((240, 320, 3), np.float32)
        return compose(black, lambda _: square(next(labels)), np.random.default_rng(seed))

    counts = [len(scene(seed).labels) for seed in range(30)]
    assert min(counts) == 1 and max(counts) > 8
    one, other = scene(3), scene(3)
    assert np.array_equal(one.rgb, other.rgb) and np.array_equal(one.boxes_xyxy, other.boxes_xyxy)
    assert not np.array_equal(one.rgb, scene(4).rgb)


def test_a_set_of_two_has_every_second_image_and_the_classes_of_both(tmp_path: Path) -> None:
    for number, name in enumerate(("cells", "clipart")):
        for split, images in (("train", 5), ("val", 3)):
            chance = np.random.default_rng(number)
            black = np.zeros((240, 320, 3), np.float32)
            scenes = [compose(black, lambda _: square(1), chance, most=2) for _ in range(images)]
            write_coco(tmp_path / name, split, scenes, ["a", "b"])
    found = [Place.of_coco(name, tmp_path / name) for name in ("cells", "clipart")]
    place = made_of_two(tmp_path, found)
    data = CocoDataModule(tmp_path / "two", train_split="train", val_split="val")
    assert place.name == "two" and len(data.train) == 6 and len(data.val) == 4
    assert data.train.truth.class_names == ("cells a", "cells b", "clipart a", "clipart b")
    whole = CocoDataModule(tmp_path / "clipart", train_split="train", val_split="val").train
    for mine, theirs in ((3, 0), (4, 2), (5, 4)):  # the boxes come with their image
        assert np.allclose(
            data.train.truth.boxes_xyxy[data.train.truth.rows(mine)],
            whole.truth.boxes_xyxy[whole.truth.rows(theirs)],
        )
    assert set(data.train.truth.labels.tolist()) == {1, 3}


def plan(tmp_path: Path) -> Plan:
    return Plan(PLACES, Place("two", ()), tmp_path / "pretrained.ckpt", finals=1)


def done(plan: Plan, rounds: int = 10_000) -> dict[str, dict[str, Any]]:
    """Run all jobs in thought: dsla is the best, and gains by its search."""
    results: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        job = next((one for one in plan.jobs(results) if one.name not in results), None)
        if job is None:
            break
        ap = 0.5 + 0.05 * (job.method == "dsla") + 0.01 * job.seed
        one: dict[str, Any] = {"AP": ap, "set": job.place.name, "method": job.method}
        one |= {"seed": job.seed, "extra": job.extra[0], "minutes": 6.0}
        if job.kind == "search":
            one |= {"AP": ap + 0.1, "lr": 0.001, "batch": 8}
            one["trials"] = [{"state": "done"}, {"state": "pruned"}]
        elif job.kind == "curve":
            one["by_share"] = {"0.1": [0.2, 0.4], "1.0": [0.5, 0.5]}
        else:
            one["course"] = [0.1, ap - 0.02]
        if job.kind == "ours":
            one |= {"lr": job.setting.lr, "batch": job.setting.batch}
        results[job.name] = one
    return results


def test_every_method_is_measured_once_before_anything_is_searched(tmp_path: Path) -> None:
    jobs = list(plan(tmp_path).jobs({}))
    first = jobs[: len(PLACES) * (len(METHODS) + 1)]
    assert {(job.place.name, job.method) for job in first} == {
        (place.name, method) for place in PLACES for method in (*METHODS, PEER)
    }
    assert {job.seed for job in first} == {0}
    results = done(plan(tmp_path))
    longer = [name for name in results if "-50_epochs" in name]
    assert len(longer) == len(PLACES) * 2 * 3
    finals = [name for name in results if "-dsla-lr0.001-b8-" in name]
    assert len(finals) == len(PLACES) * 3 and finals == list(results)[-len(finals) :]
    # A search that found nothing better leaves what there was.
    worse = {**results, "search-dsla": {**results["search-dsla"], "AP": 0.1}}
    assert plan(tmp_path).found("dsla", worse) == Setting()


def test_words_are_said_once_and_the_last_one_counts(tmp_path: Path) -> None:
    jobs = {job.name: job for job in plan(tmp_path).jobs({})}
    words = jobs["cells-gfl-lr0.0007-b4-pretrained_waits-seed1"].words(Path("w.pth"), 12)
    keys = [word.split("=")[0] for word in words]
    assert len(keys) == len(set(keys))
    assert {"experiment=finetune_coco", "seed=1", "schedule.max_epochs=null"} <= set(words)
    assert jobs["digits-atss-lr0.0007-b4-seed0"].words(Path("w.pth"), 12)[1] == "method=atss"


def test_the_table_has_means_spread_and_what_is_ahead(tmp_path: Path) -> None:
    text = table(plan(tmp_path), done(plan(tmp_path)))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    best = [row for row in rows if row[:1] == ["dsla"] and len(row) == 6]
    three = "0.560 ±0.010 (3)"
    assert best[0] == ["dsla", "as it is", "0.550 (1)", "0.550 (1)", "0.550", "+0.040"]
    assert best[1] == ["dsla", "lr 0.001, batches of 8", three, three, "0.560", "+0.050"]
    assert [PEER, "", "0.510 ±0.010 (3)", "0.510 ±0.010 (3)", "0.510", ""] in rows
    assert ["dsla", "0.550", "0.650", "0.001", "8", "1, 1"] in rows
    assert [
        "gfl",
        "50 epochs mosaic",
        "0.510 ±0.010 (3)",
        "0.510 ±0.010 (3)",
        "0.510",
        "+0.000",
    ] in rows
    assert ["10%", "0.300 ±0.141 (2)"] in rows and ["imagenet", "0.510 ±0.010 (3)"] in rows
    begun = {k: v for k, v in done(plan(tmp_path)).items() if not k.startswith("digits-tal")}
    assert "| tal | as it is | 0.500 (1) |  |  |  |" in table(plan(tmp_path), begun)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[driving.Driver]:
    """A driver of three jobs that are small programs; signals are left as they were."""
    jobs = [
        Job("peer", place, PEER, seed=seed)
        for place, seed in zip(PLACES * 2, (0, 0, 1), strict=False)
    ]
    monkeypatch.setattr(Plan, "jobs", lambda self, results: iter(jobs))
    program = (
        "import json, pathlib, sys, time; f = pathlib.Path(sys.argv[1]); f.mkdir(exist_ok=True);"
        "n = len(list(f.iterdir())); (f / str(n)).touch();"
        "('digits-torchvision-seed0' == f.name and n == 0) and time.sleep(60);"
        "'seed1' in f.name and sys.exit(3);"
        "(f / 'figures.json').write_text(json.dumps({'AP': 0.25, 'course': [0.25], 'n': n}))"
    )

    def command(self: driving.Driver, job: Job, folder: Path) -> Any:
        return [sys.executable, "-c", program, str(folder)], driving._figures_of_peer

    monkeypatch.setattr(driving.Driver, "_command", command)
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    yield driving.Driver(tmp_path, plan(tmp_path), tmp_path / "w.pth")
    for one, handler in before.items():
        signal.signal(one, handler)


def test_a_stopped_driver_goes_on_and_passes_over_what_fails(
    quick: driving.Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = tmp_path / "runs/digits-torchvision-seed0/0"

    def stop() -> None:
        until = time.monotonic() + 30
        while not second.exists() and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    quick.run()
    first = tmp_path / "results/cells-torchvision-seed0.json"
    assert [file.name for file in (tmp_path / "results").iterdir()] == [first.name]
    written = first.stat().st_mtime_ns
    driving.Driver(tmp_path, quick.plan, quick.weights).run()
    assert first.stat().st_mtime_ns == written  # what is done is not done again
    again = json.loads((tmp_path / "results/digits-torchvision-seed0.json").read_text())
    assert again["n"] == 1 and again["set"] == "digits"
    # What ends in an error is tried twice, and the others go on.
    assert len(list((tmp_path / "runs/cells-torchvision-seed1").iterdir())) == 2
    assert not (tmp_path / "results/cells-torchvision-seed1.json").exists()
    assert "cells-torchvision-seed1: ended with 3" in capsys.readouterr().out
    assert "| torchvision |" in (tmp_path / "table.md").read_text()


def test_nothing_begins_that_would_not_be_done_while_the_machine_is_there(
    quick: driving.Driver,
) -> None:
    lent = replace(quick, minutes=1.0, _longest_s={"ours": 90.0})
    assert lent._next() is not None  # of its kind nothing has ended yet
    assert replace(lent, _longest_s={"peer": 30.0})._next() is not None
    assert replace(lent, _longest_s={"peer": 90.0})._next() is None


def test_torchvisions_rate_rises_and_falls_as_its_authors_say() -> None:
    recipe = peer.Recipe(warmup_share=0.1)
    factors = [recipe.factor(step, 260) for step in (0, 13, 26, 159, 160, 219, 220, 259)]
    assert factors == pytest.approx([0.001, 0.5005, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_torchvision_goes_on_after_a_whole_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    features = {f"features.{k}": v for k, v in peer.mobilenet_v2().features.state_dict().items()}
    torch.save(features, tmp_path / "weights.pth")
    words = ("data=shapes", f"data.root={tmp_path / 'shapes'}", "data.train_images=8")
    words = (*words, "data.val_images=2", "data.image_px=64", "data.shorter_side=64")
    options = ("--words", *words, "--weights", str(tmp_path / "weights.pth"), "--epochs", "2")
    peer.main([str(tmp_path / "whole"), *options])
    measure, calls = peer.measure, 0

    def stopping(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return measure(*arguments)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(peer, "measure", stopping)
        peer.main([str(tmp_path / "cut"), *options])
    peer.main([str(tmp_path / "cut"), *options])
    one, other = (torch.load(tmp_path / run / "last.pth") for run in ("whole", "cut"))
    assert one["progress"]["epochs"] == other["progress"]["epochs"] == 2
    assert one["progress"]["course"] == other["progress"]["course"]
    for key, value in one["model"].items():
        assert torch.equal(value, other["model"][key]), key
    assert (
        json.loads((tmp_path / "cut/figures.json").read_text())["course"]
        == one["progress"]["course"]
    )


def test_every_kind_of_job_is_a_command_that_composes(tmp_path: Path) -> None:
    """Hours of a search are not to end in a mistyped word."""
    made = plan(tmp_path)
    driver = driving.Driver(tmp_path, made, tmp_path / "w.pth")
    kinds: dict[tuple[str, ...], Job] = {}
    for job in made.jobs(done(made)):
        kinds.setdefault((job.kind, job.method, job.extra[0], str(job.setting)), job)
    assert {kind for kind, *_ in kinds} == {"ours", "peer", "search", "curve"}
    places = ("data=shapes", "data.shorter_side=240", "data.longer_side=320")
    for job in kinds.values():
        command, _ = driver._command(replace(job, place=Place(job.place.name, places)), tmp_path)
        if job.kind == "peer":
            assert command[1].endswith("peer.py") and Path(command[1]).is_file()
            continue
        assert command[1:3] == ["-m", "fcos_lightning.cli.train"]
        words = [word for word in command[3:] if word != "-m"]
        own = [word for word in words if word.startswith(("sweep=", "sweep."))]
        words = [word for word in words if word not in own and not word.startswith("run_dir=")]
        if job.kind == "ours":
            assert sweep.compose("train", words)["seed"] == job.seed
            continue
        settings = sweep._settings(own)
        space = parse_space(words, settings["params"])
        if job.kind == "curve":
            assert len(space.grid()) == 12
            config = sweep.compose("train", [*space.fixed, *space.grid()[0]])
            assert config["schedule"]["max_epochs"] is None
        else:
            assert set(space.distributions()) == {"schedule.lr", "data.batch_size"}
            sweep.compose("train", [*space.fixed, "schedule.lr=0.001", "data.batch_size=8"])
