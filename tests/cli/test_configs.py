"""Every file of conf/ composes, and what it describes can be made."""

import json
from itertools import chain
from pathlib import Path

import hydra
import lightning as L
import pytest
from omegaconf import DictConfig, OmegaConf

from fcos_lightning.data import Augmentation, DetectionDataModule, MixedAugmentation
from fcos_lightning.detector import FCOS, DenseDetector, build_detector
from fcos_lightning.errors import UserError
from fcos_lightning.runs.config.composed import config_dir
from fcos_lightning.runs.objects.instantiate import check_targets, make
from fcos_lightning.training.schedule import Schedule

GROUPS = {
    group.name: sorted(file.stem for file in group.glob("*.yaml"))
    for group in config_dir().iterdir()
    if group.is_dir()
}
# A sweep is no part of a run; what a method wants otherwise on a net follows from these two.
APART = ("sweep", "method_on")
PAIRS = [(group, name) for group, names in GROUPS.items() for name in names if group not in APART]


def composed(name: str, *overrides: str) -> DictConfig:
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        return hydra.compose(name, list(overrides))


def test_all_groups_are_here() -> None:
    expected = {"method", "model", "data", "augment", "schedule", "trainer", "callbacks", "logger"}
    assert set(GROUPS) == expected | {"experiment", *APART}
    assert {"r18", "r34", "r50", "r101", "r152", "mnv2", "tiny"} <= set(GROUPS["model"])
    assert {"none", "flip", "multiscale", "strong"} <= set(GROUPS["augment"])
    assert {"1x", "2x", "quick"} <= set(GROUPS["schedule"])


@pytest.mark.parametrize(("group", "name"), PAIRS)
def test_a_choice_composes_and_resolves(group: str, name: str) -> None:
    config = composed("train", f"{group}={name}", "run_dir=somewhere")
    tree = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(tree, dict)
    for key, value in tree.items():
        check_targets(value, str(key), ())


@pytest.mark.parametrize("name", GROUPS["model"])
def test_a_model_is_built(name: str) -> None:
    config = composed("train", f"model={name}", "model.backbone.weights=null")
    detector = make(config, "model", class_names=("a", "b"), category_ids=(1, 2))
    assert isinstance(detector, FCOS)
    assert detector.strides == ((8, 16, 32) if name == "tiny" else (8, 16, 32, 64, 128))


@pytest.mark.parametrize("net", ["tiny", "mnv2"])
@pytest.mark.parametrize("name", GROUPS["method"])
def test_a_method_is_built_on_any_net(name: str, net: str) -> None:
    config = composed("train", f"method={name}", f"model={net}", "model.backbone.weights=null")
    detector = make(config, "model", class_names=("a", "b"), category_ids=(1, 2))
    assert isinstance(detector, DenseDetector)
    again = build_detector(**json.loads(json.dumps(detector.spec)))
    assert again.spec == detector.spec  # a checkpoint can carry all of it
    # Every option stands in the file, so that a reader finds it there.
    for part in ("assigner", "loss", "decoder"):
        assert set(config.model[part]) == set(detector.spec[part])


@pytest.mark.parametrize("file", GROUPS["method_on"])
def test_what_a_method_wants_on_a_net_is_of_both(file: str) -> None:
    assert any(
        file == f"{method}_{model}" for method in GROUPS["method"] for model in GROUPS["model"]
    )
    (method,) = (name for name in GROUPS["method"] if file == f"{name}_tiny")
    special = composed("train", f"method={method}", "model=tiny")
    usual = composed("train", f"method={method}", "model=tiny", "~method_on")
    assert special != usual


@pytest.mark.parametrize("name", GROUPS["method"])
def test_the_recipes_for_small_data_take_any_method(name: str) -> None:
    for recipe in ("finetune", "quickstart"):
        config = composed(
            "train", f"experiment={recipe}", f"method={name}", "model.backbone.weights=null"
        )
        detector = make(config, "model", class_names=("a", "b"), category_ids=(1, 2))
        assert isinstance(detector, DenseDetector)


@pytest.mark.parametrize("name", GROUPS["augment"])
def test_an_augmentation_is_made_and_works(name: str) -> None:
    import numpy as np

    config = composed("train", f"augment={name}", "data.shorter_side=64", "data.longer_side=96")
    augment = make(config, "augment")
    if isinstance(augment, MixedAugmentation):
        assert {*augment.mixes} == {"copy_paste", "mosaic", "mixup"}
        augment = augment.then
    assert isinstance(augment, Augmentation)
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    for seed in range(8):
        out, boxes, labels, _ = augment(
            image, np.array([[10.0, 10.0, 40.0, 40.0]]), np.array([1]), seed
        )
        assert out.dtype == np.uint8 and out.ndim == 3
        assert len(boxes) == len(labels)


@pytest.mark.parametrize("name", GROUPS["schedule"])
def test_a_schedule_is_made(name: str) -> None:
    schedule = make(composed("train", f"schedule={name}"), "schedule")
    assert isinstance(schedule, Schedule)
    detector = make(composed("train", "model=tiny"), "model", class_names=("a",), category_ids=(1,))
    schedule.configure(detector, 16, 100)
    if name in ("1x", "2x"):
        factor = int(name[0])
        assert (schedule.max_steps, schedule.milestones) == (
            90_000 * factor,
            [60_000 * factor, 80_000 * factor],
        )


@pytest.mark.parametrize("name", GROUPS["data"])
def test_a_data_module_is_made(name: str, tmp_path: Path) -> None:
    config = composed("train", f"data={name}", f"data.root={tmp_path}")
    assert isinstance(make(config, "data"), DetectionDataModule)


@pytest.mark.parametrize("name", GROUPS["callbacks"])
def test_callbacks_are_made(name: str, tmp_path: Path) -> None:
    made = make(composed("train", f"callbacks={name}", f"run_dir={tmp_path}"), "callbacks")
    assert all(value is None or isinstance(value, L.Callback) for value in made.values())
    assert (made["ema"] is not None) == (name in ("ema", "early_stop"))


@pytest.mark.parametrize("name", ["default", "none"])
def test_loggers_are_made(name: str, tmp_path: Path) -> None:
    made = make(composed("train", f"logger={name}", f"run_dir={tmp_path}"), "logger")
    assert len(made) == {"default": 2, "none": 0}[name]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_logger_package_is_named(name: str, tmp_path: Path) -> None:
    config = composed("train", f"logger={name}", f"run_dir={tmp_path}")
    try:
        __import__(name)
    except ModuleNotFoundError:
        with pytest.raises(UserError, match=name) as caught:
            make(config, "logger")
        assert "\n" not in str(caught.value)
    else:
        assert len(make(config, "logger")) == 3


@pytest.mark.parametrize("name", GROUPS["experiment"])
def test_an_experiment_holds_differences_only(name: str) -> None:
    file = OmegaConf.load(config_dir() / "experiment" / f"{name}.yaml")
    experiment = composed("train", f"experiment={name}")
    assert isinstance(file, DictConfig)
    choices = [
        f"{str(key).split('/')[-1]}={value}"
        for entry in file.pop("defaults", [])
        for key, value in entry.items()
    ]
    without = composed("train", *choices)
    for key in leaves(file):
        assert OmegaConf.select(experiment, key) != OmegaConf.select(without, key), key


def leaves(tree: DictConfig, before: str = "") -> list[str]:
    found = [
        leaves(value, f"{before}{key}.") if isinstance(value, DictConfig) else [f"{before}{key}"]
        for key, value in tree.items()
    ]
    return list(chain.from_iterable(found))
