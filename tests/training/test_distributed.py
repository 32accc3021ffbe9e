import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.training import distributed_scenes as scenes

from fcos_lightning.structures import Batch, Images, PaddedTargets, Targets
from fcos_lightning.training.ranks.step_totals import totals_of_step

Results = list[dict[str, Any]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "1").mkdir()
    return folder


def play(place: Path, devices: int, *names: str) -> Results:
    """Run scenes on so many processes; return what each rank found."""
    out = place / str(devices)
    out.mkdir()
    done = subprocess.run(
        [sys.executable, scenes.__file__, str(out), str(devices), *names],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [torch.load(out / f"rank{rank}.pt") for rank in range(devices)]


@pytest.fixture(scope="module")
def two(place: Path) -> Results:
    return play(place, 2, "gradients", "empty_rank", "evaluation", "features")


@pytest.fixture(scope="module")
def four(place: Path) -> Results:
    return play(place, 4, "gradients", "evaluation")


@pytest.fixture(scope="module")
def gradients(place: Path) -> dict[str, torch.Tensor]:
    """Of one device with the whole batch."""
    return scenes.gradients(place / "1", 1, 1)


@pytest.fixture(scope="module")
def summary(place: Path) -> dict[str, Any]:
    """Of one device."""
    return scenes.evaluation(place / "1", 1, 1)


def check_gradients(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys() and len(found) > 30
    for name, gradient in expected.items():
        difference = (found[name] - gradient).norm() / gradient.norm().clamp(min=1e-12)
        assert difference <= 1e-5, name


def test_two_devices_have_the_gradients_of_one(
    two: Results, gradients: dict[str, torch.Tensor]
) -> None:
    for rank in two:
        check_gradients(rank["gradients"], gradients)


def test_accumulated_batches_have_the_gradients_of_one_large_batch(
    place: Path, gradients: dict[str, torch.Tensor]
) -> None:
    check_gradients(scenes.gradients(place / "1", 1, 2), gradients)
    check_gradients(scenes.gradients(place / "1", 1, 4), gradients)


def test_a_rank_without_boxes_neither_hangs_nor_skips_a_parameter(two: Results) -> None:
    first, second = (rank["empty_rank"] for rank in two)
    for rank in (first, second):
        assert rank["steps"] == 50 and not rank["missing"]
        assert all(math.isfinite(loss) and loss > 0 for loss in rank["losses"])
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name]), name


def test_all_ranks_leave_the_step_in_which_one_is_not_finite(tmp_path: Path) -> None:
    """Else the others wait for it in vain, or learn from what it has not computed."""
    subprocess.run(
        [sys.executable, scenes.__file__, str(tmp_path), "2", "not_finite"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,  # the first rank ends the other
        timeout=240,
    )
    first, second = (torch.load(tmp_path / f"ended{rank}.pt") for rank in range(2))
    for rank in (first, second):
        assert rank["kind"] == "NonFiniteLoss", rank["said"]
        assert "loss is not finite" in rank["said"]
    assert first["said"] == second["said"]  # so that it need be printed once
    assert torch.equal(first["weights"], second["weights"])
    assert torch.isfinite(first["weights"]).all()


def check_evaluation(found: Results, alone: dict[str, Any]) -> None:
    assert 0.2 < alone["summary"]["AP"] < 0.9  # neither trivial
    seen = [image for rank in found for image in rank["evaluation"]["seen"]]
    assert sorted(seen) == alone["images"] and len(set(seen)) == 21
    for rank in found:
        assert rank["evaluation"]["rows"] == alone["rows"]
        for key in ("AP", "AP50", "AP75", "APs", "APm", "AR1", "AR10", "AR100"):
            figure = rank["evaluation"]["summary"][key]
            assert figure == pytest.approx(alone["summary"][key], abs=1e-12), key


def test_two_ranks_evaluate_each_of_21_images_once(two: Results, summary: dict[str, Any]) -> None:
    check_evaluation(two, summary)


def test_average_clipping_and_bf16_work_on_two_ranks(two: Results) -> None:
    first, second = (rank["features"] for rank in two)
    assert first["norm"] == second["norm"] == pytest.approx(0.1, rel=1e-3)
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name]), name


@pytest.mark.slow
def test_four_devices_do_the_same(
    four: Results, gradients: dict[str, torch.Tensor], summary: dict[str, Any]
) -> None:
    for rank in four:
        check_gradients(rank["gradients"], gradients)
    check_evaluation(four, summary)


@pytest.fixture(scope="module")
def of_methods(place: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Of each method, on one device with the whole batch."""
    return scenes.methods(place / "1", 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_devices_have_the_gradients_of_one_whatever_the_method(
    tmp_path: Path, of_methods: dict[str, dict[str, torch.Tensor]], devices: int
) -> None:
    for rank in play(tmp_path, devices, "methods"):
        for method, expected in of_methods.items():
            check_gradients(rank["methods"][method], expected)


@pytest.mark.slow
def test_accumulated_batches_of_mappings_that_look_at_boxes_alone(
    place: Path, of_methods: dict[str, dict[str, torch.Tensor]]
) -> None:
    for accumulate in (2, 4):
        for method in scenes.STATIC:
            found = scenes.gradients(place / "1", 1, accumulate, scenes.of_method(method))
            check_gradients(found, of_methods[method])


def test_accumulated_batches_of_mappings_that_look_at_predictions_each_by_itself() -> None:
    """Those that follow in a step have not been predicted yet, so they are left alone."""
    trainer = SimpleNamespace(
        accumulate_grad_batches=3,
        world_size=2,
        strategy=SimpleNamespace(reduce=lambda sums, reduce_op: sums * 2),
    )
    for method in scenes.METHODS:
        detector = scenes.of_method(method)
        boxes = torch.tensor([[[8.0, 8.0, 40.0, 40.0], [20.0, 4.0, 60.0, 58.0]]])
        padded = PaddedTargets(Targets(boxes, torch.tensor([[0, 3]])), (64, 64))
        pixels = torch.full((1, 3, 64, 64), 99, dtype=torch.uint8)
        images = Images(pixels, torch.tensor([[64, 64]]))
        batch = Batch(
            images,
            padded.targets,
            torch.tensor([1]),
            images.sizes_hw,
            rest_of_step=(padded, padded),
        )
        assignment = detector.assign(detector.grid(images), padded.targets, detector(images))
        totals = totals_of_step(detector, assignment, batch, trainer)  # type: ignore[arg-type]
        alone = method in scenes.LOOKING
        assert detector.assigner.needs_prediction is alone
        assert totals.batches == (2 if alone else 6)
        for name, own in detector.loss.totals(assignment).items():
            assert totals.sums[name] == own * (2 if alone else 6) > 0
