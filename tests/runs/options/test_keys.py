"""Settings that do not exist are refused with the nearest one, wherever they come from."""

from pathlib import Path

import pytest

from fcos_lightning.errors import UserError
from fcos_lightning.runs.config.composed import compose, composed
from fcos_lightning.runs.options.names import SETTINGS, choice_names


def refused(command: str, *words: str, own_dir: Path | None = None) -> str:
    with pytest.raises(UserError) as caught, composed(command, words, own_dir):
        pass
    assert "\n" not in str(caught.value) and "hydra" not in str(caught.value).lower()
    return str(caught.value)


@pytest.mark.parametrize(
    ("command", "word", "meant"),
    [
        ("train", "lr=0.5", "schedule.lr"),
        ("train", "batch_size=64", "data.batch_size"),
        ("train", "epochs=5", "schedule.max_epochs"),
        ("train", "imgsz=640", "data.shorter_side"),
        ("train", "pretrained=x.pth", "init_from"),
        ("train", "trainer.gpus=2", "trainer.devices"),
        ("train", "trainer.max_epoch=2", "trainer.max_epochs"),
        ("train", "schedule.learning_rate=1", "schedule.lr"),
        ("train", "schedule.lrr=1", "schedule.lr"),
        ("train", "checkpoint.every_steps=3", "checkpoint.every_n_steps"),
        ("train", "modle=r50", "model"),
        ("test", "conf=0.3", "decoder.score_threshold"),
        ("test", "weights=x.ckpt", "ckpt"),
        ("train", "mehtod=atss", "method"),
        ("train", "expermient=finetune", "experiment"),
        ("test", "decoder.iou=0.3", "decoder.nms_iou"),
        ("test", "test.flipp=true", "test.flip"),
        ("test", "limit=40", "trainer.limit_val_batches"),
        ("predict", "conf=0.3", "score_threshold"),
        ("predict", "weights=x.ckpt", "ckpt"),
        ("convert", "output=x", "out"),
    ],
)
def test_the_nearest_is_named_with_and_without_a_plus(command: str, word: str, meant: str) -> None:
    key = word.split("=")[0]
    # What is added to a schedule is an argument of it, refused when the schedule is made.
    for sign in ("",) if key.startswith("schedule.") else ("", "+", "++"):
        said = refused(command, f"{sign}{word}")
        assert said == f"{key}: there is no such setting; is {meant} meant?", sign


def test_what_is_like_nothing_gets_the_list() -> None:
    said = refused("train", "+xyzzy=1")
    assert said.startswith("xyzzy: there is no such setting; there are activation_checkpointing")
    assert "every_n_minutes" in refused("train", "+checkpoint.xyzzy=1")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("model=resnet50", "model=r50"),
        ("model=ResNet-101", "model=r101"),
        ("model=resnext101_32x8d", "model=x101_32x8d"),
        ("model=mobilenet_v2", "model=mnv2"),
        ("data=voc2012", "data=voc"),
        ("data=COCO", "data=coco"),
        ("schedule=quik", "schedule=quick"),
    ],
)
def test_a_choice_by_another_name(word: str, meant: str) -> None:
    said = refused("train", word)
    assert f"{word}: there is no such choice; is {meant} meant? there are" in said


@pytest.mark.parametrize(
    "word", ["trainer.profiler=simple", "callbacks.best.save_last=true", "callbacks.mine.a=1"]
)
def test_what_can_be_added_says_how(word: str) -> None:
    said = refused("train", word)
    assert said == f"{word.split('=')[0]}: is in no file of the configuration; add it by +{word}"


@pytest.mark.parametrize(
    ("words", "choices"),
    [
        (("callbacks.early_stop.patience=2",), "callbacks=early_stop"),
        (("augment.weak_end=0.2",), "augment=mosaic"),
        (("model.assigner.square=3",), "method=atss, method=gfl"),
    ],
)
def test_a_setting_of_a_choice_that_is_not_taken(words: tuple[str, ...], choices: str) -> None:
    key = words[-1].split("=")[0]
    assert refused("train", *words) == (
        f"{key}: what is chosen has no such setting; leave it out, or choose {choices}"
    )


def test_what_a_choice_leaves_to_the_part_says_how() -> None:
    said = refused("train", "experiment=finetune_coco", "model.head.num_convs=1")
    assert said == (
        "model.head.num_convs: no chosen file says it; if the part itself takes it, add it by "
        "+model.head.num_convs=1"
    )


def test_beside_a_wrong_setting_those_of_the_choice_are_named() -> None:
    said = refused("train", "augment=mosaic", "augment.mixes.nope=null")
    assert said.endswith(
        "there are augment.mixes.copy_paste, augment.mixes.mixup, augment.mixes.mosaic"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("+trainer.profiler=simple",),
        ("+callbacks.mine._target_=lightning.pytorch.callbacks.Timer",),
        ("+logger.mine._target_=lightning.pytorch.loggers.CSVLogger",),
        ("+callbacks.ema._target_=mypkg.Mine",),
        ("+data.fancy=1",),  # of a data set of one's own, which is asked when it is made
        ("+mine=0.5", "schedule.lr=${mine}"),
        ("+mine.deep.er=0.5", "schedule.lr=${mine.deep.er}"),
    ],
)
def test_what_somebody_may_mean_is_left_alone(words: tuple[str, ...]) -> None:
    with composed("train", words) as config:
        assert config.name == "fcos"


def test_a_file_of_ones_own_is_no_excuse(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "mine.yaml"
    file.write_text("# @package _global_\nlr: 0.5\n")
    said = refused("train", "experiment=mine", own_dir=tmp_path)
    assert said == "lr: there is no such setting; is schedule.lr meant?"
    file.write_text("# @package _global_\nmine: 0.5\nschedule:\n  lr: ${mine}\n")
    with composed("train", ["experiment=mine"], tmp_path) as config:
        assert config.schedule.lr == 0.5


@pytest.mark.parametrize(("group", "package"), [("method", "model"), ("experiment", "_global_")])
def test_a_file_that_does_not_say_where_it_belongs(
    group: str, package: str, tmp_path: Path
) -> None:
    file = tmp_path / group / "mine.yaml"
    file.parent.mkdir()
    word = f"{group}=mine"
    for text in (f"# mine.yaml\n# @package {package}\n", ""):
        file.write_text(f"{text}loss: {{name: fcos}}\n")
        said = refused("train", word, own_dir=tmp_path)
        assert said.startswith(f"{group}: is a choice and no setting; a YAML file of yours in ")
        assert f"`# @package {package}` as its first line" in said
    file.write_text("# @package model\nloss: {name: fcos}\n")
    with composed("train", [word], tmp_path) as config:
        assert config.model.loss.name == "fcos"


def test_no_setting_is_its_own_likeness() -> None:
    from fcos_lightning.runs.config.composed import config_dir
    from fcos_lightning.runs.options.keys import _known, unknown

    for key in sorted(_known(config_dir(), "train")):
        assert f"is {key} meant" not in str(unknown(key, config_dir(), "train"))


def test_a_sweep_is_looked_at_before_a_job_runs() -> None:
    for word in ("lr=0.5", "+lr=0.5"):
        with pytest.raises(UserError, match=r"^lr: there is no such setting; is schedule.lr meant"):
            compose("train", [word])


def test_every_name_from_elsewhere_leads_to_a_setting() -> None:
    from fcos_lightning.runs.config.composed import config_dir
    from fcos_lightning.runs.options.keys import _known

    commands = ("train", "test", "report", "predict", "convert", "doctor")
    known = frozenset().union(*(_known(config_dir(), name) for name in commands))
    assert {meant for ours in SETTINGS.values() for meant in ours} <= known
    assert "r50" in choice_names("resnet50")
