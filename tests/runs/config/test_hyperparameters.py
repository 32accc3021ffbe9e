"""What loggers are told of a run: its settings, as a command gives them, and no secret."""

from pathlib import Path

import lightning as L
import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from fcos_lightning.runs.config.composed import composed
from fcos_lightning.runs.config.hyperparameters import log_configuration, shown_settings
from fcos_lightning.training.loggers.csv_log import RunCSVLogger


def test_settings_are_plain_and_called_as_on_the_command_line() -> None:
    with composed("train", ["schedule.lr=0.25", "run_dir=/home/somebody/run"]) as config:
        shown = shown_settings(config)
    assert shown["schedule.lr"] == 0.25 and shown["data.batch_size"] == 16
    assert shown["model.fpn.levels"] == "[3, 4, 5, 6, 7]"
    assert shown["augment.transforms.0._target_"] == "albumentations.HorizontalFlip"
    assert all(isinstance(value, str | int | float | bool) for value in shown.values())
    assert not any(key.startswith(("logger", "run_dir", "resume")) for key in shown)


def test_nothing_secret_is_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "from the environment")
    config = OmegaConf.create(
        {
            "schedule": {"lr": 0.1, "norm_weight_decay": None},
            "logger": {"wandb": {"project": "hidden"}},
            "data": {
                "root": "${oc.env:MINE}/set",
                "api_key": "hidden",
                "auth_token": "hidden",
                "passwords": ["hidden"],
                "url": "https://me:hidden@host/x",
                "max_tokenizer": 3,
                "mirrors": ["http://host/a", "http://me:hidden@host/b"],
            },
        }
    )
    assert shown_settings(config) == {"schedule.lr": 0.1, "data.max_tokenizer": 3}


def test_tensorboard_gets_a_table_and_no_point_of_a_figure(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path, name="", version="board")
    rows = RunCSVLogger(str(tmp_path))
    trainer = L.Trainer(logger=[rows, board], accelerator="cpu", enable_checkpointing=False)
    with composed("train", ["schedule.lr=0.25"]) as config:
        log_configuration(trainer, config)
    board.finalize("success")
    read = EventAccumulator(str(tmp_path / "board")).Reload()
    content = read.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    told = HParamsPluginData.FromString(content).session_start_info.hparams
    assert told["schedule.lr"].number_value == 0.25
    assert read.Tags()["scalars"] == []
    assert not (tmp_path / "hparams.yaml").exists()  # config.yaml lies there
