import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from tests.evaluation.scenes import ground_truth, random_scene
from torch import multiprocessing

from fcos_lightning.evaluation.coco import coco_summary
from fcos_lightning.evaluation.metric import DetectionMetric
from fcos_lightning.evaluation.voc import voc_summary
from fcos_lightning.structures import Detections

IMAGES = 21
EMPTY = Detections(torch.empty(0, 4), torch.empty(0), torch.empty(0, dtype=torch.int64))


def scene() -> tuple[Any, dict[int, Detections]]:
    truth, rows = random_scene(5, images=IMAGES, steps=3)
    detections = {}
    for image_id in truth.image_ids.tolist():
        mine = rows.image_ids == image_id
        detections[image_id] = Detections(
            torch.from_numpy(rows.boxes_xyxy[mine]).float(),
            torch.from_numpy(rows.scores[mine]).float(),
            torch.from_numpy(rows.labels[mine]),
        )
    return truth, detections


def feed(metric: DetectionMetric, detections: dict[int, Detections], ids: list[int]) -> None:
    for start in range(0, len(ids), 4):
        batch = ids[start : start + 4]
        metric.update(torch.tensor(batch), [detections[image_id] for image_id in batch])


def plain(metric: DetectionMetric) -> dict[str, Any]:
    summary = metric.compute()
    columns = (metric.table.image_ids, metric.table.boxes_xyxy, metric.table.scores)
    return {"summary": summary, "table": [column.tolist() for column in columns]}


def one_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=20),
    )
    truth, detections = scene()
    ids = truth.image_ids.tolist()
    metric = DetectionMetric(truth, protocol="voc")
    results = {}

    # As a distributed sampler deals them: alternating, the first image again to fill rank 1.
    feed(metric, detections, [*ids, ids[0]][rank::2])
    results["split"] = plain(metric)
    local = sum(len(ids) for ids in metric.image_ids)  # the rank's own images are back
    results["local images"] = local

    metric.reset()
    if rank == 0:
        feed(metric, detections, ids)
    results["idle rank"] = plain(metric)

    metric.reset()
    if rank == 0:
        feed(metric, detections, ids)
    else:
        metric.update(torch.tensor(ids[:2]), [EMPTY, EMPTY])
    results["empty rank"] = plain(metric)

    metric.reset()
    results["nothing at all"] = plain(metric)
    Path(folder, f"{rank}.json").write_text(json.dumps(results, allow_nan=False))
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_ranks_give_what_one_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "linux":  # gloo otherwise looks the host name up, which CI may not know
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    context = multiprocessing.spawn(one_rank, args=(str(tmp_path),), nprocs=2, join=False)
    deadline = time.monotonic() + 90
    while not context.join(timeout=1):
        if time.monotonic() > deadline:
            for process in context.processes:
                process.kill()
            pytest.fail("the ranks did not finish: a collective call is waiting")

    truth, detections = scene()
    alone = DetectionMetric(truth, protocol="voc")
    nothing = json.loads(json.dumps(plain(alone)))
    feed(alone, detections, truth.image_ids.tolist())
    expected = json.loads(json.dumps(plain(alone)))
    assert 0.05 < expected["summary"]["AP"] < 0.95

    for rank in range(2):
        result = json.loads((tmp_path / f"{rank}.json").read_text())
        assert result["local images"] == 11
        for case in ("split", "idle rank", "empty rank"):
            assert result[case] == expected, (rank, case)
        assert result["nothing at all"] == nothing


def test_gives_the_coco_figures_of_the_same_detections() -> None:
    truth, detections = scene()
    metric = DetectionMetric(truth, backend="pycocotools")
    feed(metric, detections, truth.image_ids.tolist()[::-1])
    summary = metric.compute()
    assert summary == coco_summary(truth, metric.table)
    assert "mAP_area" not in summary
    assert len(metric.table) == sum(map(len, detections.values()))
    seen = [image_id for image_id in truth.image_ids.tolist() if len(detections[image_id])]
    assert list(dict.fromkeys(metric.table.image_ids.tolist())) == seen
    assert summary["AP"] == pytest.approx(_faster(truth, detections), abs=1e-9)


def _faster(truth: Any, detections: dict[int, Detections]) -> float:
    metric = DetectionMetric(truth)
    feed(metric, detections, truth.image_ids.tolist())
    return metric.compute()["AP"]


def test_voc_adds_its_figures_to_every_class() -> None:
    truth, detections = scene()
    metric = DetectionMetric(truth, protocol="voc")
    feed(metric, detections, truth.image_ids.tolist())
    summary = metric.compute()
    voc = voc_summary(truth, metric.table)
    assert summary["mAP_11point"] == voc["mAP_11point"] > 0
    assert summary["mAP_area"] == voc["mAP_area"] > 0
    row = summary["per_class"]["class1"]
    assert list(row) == ["AP", "AP50", "boxes", "AP_11point", "AP_area"]
    assert row["AP_area"] == voc["per_class"]["class1"]["AP_area"]


def test_an_image_seen_again_keeps_its_first_detections() -> None:
    truth = ground_truth({8: [([10, 10, 90, 90], 0)], 3: [([10, 10, 90, 90], 0)]})

    def found(score: float) -> Detections:
        box = torch.tensor([[10.0, 10, 90, 90]])
        return Detections(box, torch.tensor([score]), torch.tensor([0]))

    metric = DetectionMetric(truth)
    metric.update(torch.tensor([3, 8]), [found(0.25), EMPTY])
    metric.update(torch.tensor([8, 3]), [found(0.5), found(0.75)])
    assert metric.compute()["AR100"] == 0.5  # image 8 was first seen without a detection
    assert metric.table.image_ids.tolist() == [3]
    assert metric.table.scores.tolist() == [0.25]


def test_reset_forgets_and_compute_follows_further_updates() -> None:
    truth, detections = scene()
    ids = truth.image_ids.tolist()
    metric = DetectionMetric(truth)
    with pytest.raises(RuntimeError, match="compute"):
        _ = metric.table
    feed(metric, detections, ids[:10])
    half = metric.compute()["AR100"]
    feed(metric, detections, ids[10:])
    assert metric.compute()["AR100"] > half
    metric.reset()
    with pytest.raises(RuntimeError, match="compute"):
        _ = metric.table
    feed(metric, detections, ids[:10])
    assert metric.compute()["AR100"] == half


def test_autocast_types_are_accepted_and_nothing_is_checkpointed() -> None:
    truth, detections = scene()
    metric = DetectionMetric(truth)
    halves = {
        image_id: Detections(found.boxes_xyxy.bfloat16(), found.scores.bfloat16(), found.labels)
        for image_id, found in detections.items()
    }
    feed(metric, halves, truth.image_ids.tolist())
    assert metric.compute()["AP"] > 0
    assert metric.table.boxes_xyxy.dtype == np.float32
    assert torch.nn.ModuleDict({"metric": metric}).state_dict() == {}


def test_wrong_use_is_an_error() -> None:
    truth = ground_truth({1: [([10, 10, 90, 90], 0)]})
    with pytest.raises(ValueError, match="protocol"):
        DetectionMetric(truth, protocol="lvis")
    with pytest.raises(ValueError, match="backend"):
        DetectionMetric(truth, backend="slow")
    metric = DetectionMetric(truth)
    with pytest.raises(ValueError, match=r"\[1\]"):
        metric.update(torch.tensor([1, 1]), [EMPTY])
    stray = Detections(torch.tensor([[0.0, 0, 5, 5]]), torch.tensor([0.5]), torch.tensor([0]))
    metric.update(torch.tensor([99]), [stray])
    with pytest.raises(ValueError, match="image 99"):
        metric.compute()
