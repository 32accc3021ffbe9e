"""What somebody expects who knows Lightning: our module under a Trainer of their own."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from fcos_lightning import build_fcos
from fcos_lightning.data import ShapesDataModule
from fcos_lightning.data.batches.collate import Collate
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Detections
from fcos_lightning.training.module import FCOSModule
from fcos_lightning.training.schedule import Schedule
from fcos_lightning.training.testing import evaluate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ShapesDataModule:
    return ShapesDataModule(
        root=str(tmp_path_factory.mktemp("shapes")),
        train_split="train",
        val_split="val",
        train_images=8,
        val_images=6,
        image_px=64,
        shorter_side=64,
        longer_side=64,
        batch_size=4,
        num_workers=0,
    )


@pytest.fixture(scope="module")
def module(data: ShapesDataModule) -> FCOSModule:
    torch.manual_seed(0)
    detector = build_fcos(
        class_names=data.train.truth.class_names,
        category_ids=data.train.truth.category_ids,
        backbone={"name": "tiny", "widths": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
        fpn={"channels": 16, "levels": [3, 4, 5]},
        head={"num_convs": 1, "prior": 0.2, "fast_start": True},
    )
    data.collate = Collate(detector.size_multiple)
    return FCOSModule(detector)


def trainer(folder: Path, **options: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **options,
    )


def test_figures_of_validation_and_test_are_those_of_fcos_test(
    module: FCOSModule, data: ShapesDataModule, tmp_path: Path
) -> None:
    summary, _, _ = evaluate(module.detector, data, {"accelerator": "cpu"}, progress=False)
    (validated,) = trainer(tmp_path).validate(module, datamodule=data, verbose=False)
    (tested,) = trainer(tmp_path).test(module, datamodule=data, verbose=False)
    assert summary["AP50"] > 0 and summary["AR100"] > 0  # where nothing is found, all agree
    for name in ("AP", "AP50", "AR100"):
        assert validated[f"val/{name}"] == tested[f"test/{name}"] == pytest.approx(summary[name])


def test_predictions_are_detections_of_every_image(
    module: FCOSModule, data: ShapesDataModule, tmp_path: Path
) -> None:
    found = trainer(tmp_path).predict(module, datamodule=data)
    assert found is not None
    flat = [one for batch in found for one in batch]  # type: ignore[union-attr]
    assert len(flat) == 6 and all(isinstance(one, Detections) for one in flat)
    assert sum(len(one) for one in flat) > 0
    assert {name for one in flat for name in one.names} <= set(data.train.truth.class_names)


def test_a_checkpoint_of_such_a_fit_loads_again(
    data: ShapesDataModule, module: FCOSModule, tmp_path: Path
) -> None:
    schedule = Schedule(
        lambda groups, lr: torch.optim.SGD(groups, lr=lr), lr=0.001, reference_batch=4, max_steps=2
    )
    learning = FCOSModule(module.detector, schedule, batch_size=4)
    fitting = trainer(tmp_path, max_steps=2, use_distributed_sampler=False, num_sanity_val_steps=0)
    fitting.fit(learning, datamodule=data)
    assert "val/AP" in fitting.callback_metrics
    fitting.save_checkpoint(tmp_path / "mine.ckpt")
    again = FCOSModule.load_from_checkpoint(tmp_path / "mine.ckpt")
    assert again.detector.class_names == module.detector.class_names
    for key, value in again.detector.state_dict().items():
        assert torch.equal(value, learning.detector.state_dict()[key])
    assert trainer(tmp_path).validate(again, datamodule=data, verbose=False)


def test_without_ground_truth_there_are_no_figures_and_a_line_says_so(
    module: FCOSModule, data: ShapesDataModule, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="figures need ground truth: give the Trainer datamodule="):
        trainer(tmp_path).validate(module, dataloaders=data.val_dataloader(), verbose=False)
