"""The table of the Trainer's options is Lightning's own list, and refuses what would lie."""

import inspect
from typing import Any

import lightning as L
import pytest
from omegaconf import OmegaConf

from fcos_lightning.errors import UserError
from fcos_lightning.runs.config.composed import config_dir
from fcos_lightning.runs.options.trainer import OURS, TRAINER, check_trainer

#: Values of every option that a run takes.
WORKS: dict[str, tuple[Any, ...]] = {
    "accelerator": ("auto", "cpu", "gpu"),
    "strategy": ("auto", "ddp", {"_target_": "lightning.pytorch.strategies.DDPStrategy"}),
    "devices": (1, "auto", [0, 1]),
    "num_nodes": (1, 2),
    "precision": (None, "32-true", 32, "bf16-mixed", "16-mixed", "16", "bf16"),
    "logger": (None, True),
    "callbacks": (None,),
    "fast_dev_run": (False, None),
    "max_epochs": (None, 1, 100),
    "min_epochs": (None, 1),
    "max_steps": (None, 1, 90_000),
    "min_steps": (None, 1),
    "max_time": (None, "00:01:00:00", {"hours": 1}),
    "limit_train_batches": (None, 1, 0.5, 1.0),
    "limit_val_batches": (None, 0, 2, 0.5, 1.0),
    "limit_test_batches": (None, 1.0),
    "limit_predict_batches": (None, 1.0),
    "overfit_batches": (None, 0, 0.0),
    "val_check_interval": (None, 1.0, 0.5, 100),
    "check_val_every_n_epoch": (None, 1, 5),
    "num_sanity_val_steps": (None, 0, 2, -1),
    "log_every_n_steps": (None, 0, 50),
    "enable_checkpointing": (None, True),
    "enable_progress_bar": (True, False),
    "enable_model_summary": (True, False),
    "accumulate_grad_batches": (1, 4),
    "gradient_clip_val": (None, 0, 10.0),
    "gradient_clip_algorithm": (None, "norm", "value"),
    "deterministic": (None, True, False, "warn"),
    "benchmark": (None, True),
    "inference_mode": (True, False),
    "use_distributed_sampler": (None, False),
    "profiler": (None, "simple", "advanced", "pytorch"),
    "detect_anomaly": (False, True),
    "barebones": (False,),
    "plugins": (None, []),
    "sync_batchnorm": (False, True),
    "reload_dataloaders_every_n_epochs": (None, 0),
    "default_root_dir": (None, "somewhere"),
    "enable_autolog_hparams": (True, False),
    "model_registry": (None,),
}

REFUSED: dict[str, tuple[Any, ...]] = {
    "strategy": (
        *("fsdp", "deepspeed_stage_2", "model_parallel", "ddp_spawn", "ddp_notebook", "ddp_fork"),
        {"_target_": "lightning.pytorch.strategies.FSDPStrategy"},
        {"_target_": "lightning.pytorch.strategies.ModelParallelStrategy"},
    ),
    "precision": ("transformer-engine", "64-true", 64, "bf16-true", "16-true"),
    "logger": (False, "tensorboard"),
    "callbacks": ([],),
    "fast_dev_run": (True, 1),
    "max_epochs": (0, -1),
    "max_steps": (0, -1),
    "limit_train_batches": (0, 0.0, -1),
    "limit_val_batches": (-1, -0.5),
    "limit_test_batches": (1, 0.5),
    "limit_predict_batches": (1, 0.5),
    "overfit_batches": (1, 0.5, 1.0),
    "val_check_interval": (0, 0.0, "00:00:10:00", {"minutes": 1}),
    "check_val_every_n_epoch": (0, -1),
    "log_every_n_steps": (-1,),
    "enable_checkpointing": (False,),
    "accumulate_grad_batches": (0,),
    "gradient_clip_val": (-1.0,),
    "use_distributed_sampler": (True,),
    "profiler": ("xla",),
    "barebones": (True,),
    "reload_dataloaders_every_n_epochs": (1,),
    "model_registry": ("mine",),
}


def test_every_option_of_lightning_was_looked_at() -> None:
    """One of a newer Lightning fails here until the table says what becomes of it."""
    known = set(inspect.signature(L.Trainer).parameters)
    assert set(TRAINER) == known == set(WORKS)
    assert not set(OURS) & known


def test_our_own_file_asks_for_nothing_that_is_refused() -> None:
    for file in (config_dir() / "trainer").glob("*.yaml"):
        settings = OmegaConf.load(file)
        named = {str(key) for key in settings} - {"_target_", "defaults"}
        assert named <= {*TRAINER, *OURS}
        check_trainer({key: settings._get_node(key)._value() for key in named})  # type: ignore[union-attr]


@pytest.mark.parametrize("name", TRAINER)
def test_what_works_is_taken(name: str) -> None:
    for value in WORKS[name]:
        check_trainer({name: value})


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_do_what_it_says_is_refused_in_a_line(name: str) -> None:
    for value in REFUSED[name]:
        with pytest.raises(UserError, match=f"trainer.{name}=") as caught:
            check_trainer({name: value})
        assert "\n" not in str(caught.value)


def test_gradients_are_clipped_or_it_is_said_why_not() -> None:
    clipped = {"precision": "bf16-mixed", "gradient_clip_val": 10.0}
    fused: dict[str, Any] = {"optimizer": {"fused": True}}
    with pytest.raises(UserError, match=r"add schedule\.optimizer\.fused=false"):
        check_trainer(clipped, fused)
    check_trainer(clipped, {"optimizer": {"fused": False}})
    check_trainer({**clipped, "gradient_clip_val": None}, fused)
    check_trainer({**clipped, "precision": "32-true"}, fused)
