"""A dozen lines that say what will be trained on what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import lightning as L
import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fcos_lightning.checkpoints.starting import Started
from fcos_lightning.data import DetectionDataModule
from fcos_lightning.data.batches.epochs import epochs_of_run
from fcos_lightning.data.finding.usual_names import Role
from fcos_lightning.data.mixing.mixed import MixedAugmentation
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.detector import DenseDetector
from fcos_lightning.doctor.examine import found_for_free
from fcos_lightning.evaluation.detections import counted_boxes
from fcos_lightning.printing import LONGEST_LINE, class_label, printable, some_of
from fcos_lightning.training.length import steps_per_epoch
from fcos_lightning.training.schedule import Schedule

#: Boxes are counted for so many classes by name.
_CLASSES = 12


def print_summary(
    config: DictConfig,
    data: DetectionDataModule,
    detector: DenseDetector,
    schedule: Schedule,
    trainer: L.Trainer,
    folder: Path,
    started: Started,
    resumed: bool,
) -> None:
    """Print the summary of a run that is about to begin."""
    choices = dict(HydraConfig.get().runtime.choices) if HydraConfig.initialized() else {}
    if resumed:  # with what it has, not with what the command line would choose
        # Its length may have been made greater since.
        choices = {
            **dict.fromkeys(("model", "augment"), "as it began"),
            "schedule": "the run's own",
        }
    levels = [f"P{stride.bit_length() - 1}" for stride in detector.strides]
    total = sum(p.numel() for p in detector.parameters())
    learning = sum(p.numel() for p in detector.parameters() if p.requires_grad)
    accumulated = trainer.accumulate_grad_batches
    images_per_step = data.batch_size * accumulated
    steps_an_epoch = max(steps_per_epoch(trainer, data), 1)
    epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
    lengths = [
        trainer.max_steps if trainer.max_steps > 0 else None,
        epochs and epochs * steps_an_epoch,
    ]
    steps = min(length for length in lengths if length)
    test = data.test
    others = (data.val,) if test is None else (data.val, test)
    dropped = {**data.train.dropped}
    for split in others:
        for reason, number in split.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + number
    weights = config.model.get("backbone", {}).get("weights")
    start = f"weights {weights}" if weights else "fresh weights"
    if config.init_from is not None:
        start = f"init_from {config.init_from}"
    rows = [
        (
            "model",
            f"{choices.get('model', 'custom')}: levels {', '.join(levels)}, "
            f"{total / 1e6:.1f} M parameters ({learning / 1e6:.1f} M learn), {start}",
        ),
        ("classes", f"{len(data.train.truth.class_names)}: {_some(data.train.truth.class_names)}"),
        *([("data", data.found)] if data.found else []),
        *(("boxes", line) for line in _by_class(data)),
        ("train", _split(data.train)),
        ("val", _split(data.val)),
        *([("test", _split(test))] if test is not None else []),
        (
            "dropped",
            ", ".join(f"{n} boxes {reason}" for reason, n in dropped.items()) or "no boxes",
        ),
        *_doctor(data.train, others),
        *(
            ("note", f"{split.name}: {remark}")
            for split in (data.train, *others)
            for remark in split.remarks
        ),
        (
            "augment",
            f"{choices.get('augment', 'custom')}; shorter side {config.data.shorter_side}, "
            f"longer at most {config.data.longer_side} in evaluation",
        ),
        *_mixes(data, trainer),
        (
            "batch",
            f"{data.batch_size} images over {trainer.world_size} device(s), "
            f"{data.share_of_batch(trainer.world_size)} each"
            + (f", {accumulated} batches a step" if accumulated > 1 else "")
            + f"; {steps_an_epoch} steps an epoch",
        ),
        (
            "schedule",
            f"{choices.get('schedule', 'custom')}: {steps} steps = {steps / steps_an_epoch:.1f} "
            f"epochs, lr {schedule.scaled_lr(images_per_step):g} ({schedule.lr:g} for a batch of "
            f"{schedule.reference_batch})",
        ),
        *(("note", note) for note in _notes(data, schedule, steps)),
        ("device", f"{trainer.accelerator.__class__.__name__}, precision {trainer.precision}"),
        ("run folder", str(folder)),
    ]
    for key, value in rows:
        print(f"{key:<11}{printable(value, LONGEST_LINE)}")
    for line in started.notes():
        print(printable(line, LONGEST_LINE))


def _mixes(data: DetectionDataModule, trainer: L.Trainer) -> list[tuple[str, str]]:
    """Say what training images are mixed of, and until when."""
    if not isinstance(data.augmentation, MixedAugmentation):
        return []
    epochs = epochs_of_run(trainer, data.batches_per_epoch)
    return [("augment", data.augmentation.in_words(epochs))]


def _notes(data: DetectionDataModule, schedule: Schedule, steps: int) -> Iterator[str]:
    """Say what is likely meant otherwise."""
    if not (~data.val.truth.ignored).any():
        yield (
            f"{data.val.name} has not one box: there is no AP, and best.ckpt will hold the last "
            "weights"
        )
    yield from _odd_classes(data)
    late = [mark for mark in schedule.milestones if mark >= steps]
    if schedule.decay == "step" and late:
        yield (
            f"schedule.milestones: {', '.join(f'{mark:g}' for mark in late)} lie behind the last "
            f"of {steps} steps, so that the learning rate is not lowered there; shares of the run, "
            "as 0.67, fit any length"
        )
    if schedule.warmup_steps >= steps:
        yield (
            f"schedule.warmup_steps={schedule.warmup_steps:g}: the run has {steps} steps, so that "
            "the full learning rate is never reached; a share of the run, as 0.05, fits any length"
        )


def _by_class(data: DetectionDataModule) -> Iterator[str]:
    """Count the boxes of each class in training, the most frequent first."""
    names, counts = data.train.truth.class_names, counted_boxes(data.train.truth)
    order = np.argsort(-counts, kind="stable")
    shown = [f"{class_label(names[label])} {counts[label]}" for label in order[:_CLASSES]]
    if len(order) > _CLASSES:
        rest = counts[order[_CLASSES:]]
        few = int(order[-1])
        shown.append(
            f"{len(rest)} more classes {int(rest.sum())}, the rarest {class_label(names[few])} "
            f"{counts[few]}"
        )
    yield ", ".join(shown)


def _odd_classes(data: DetectionDataModule) -> Iterator[str]:
    """Say which classes nothing can be learnt or measured of, and which look like one."""
    names = data.train.truth.class_names
    for split, lacks in ((data.train, "nothing to learn them from"), (data.val, "they have no AP")):
        counts = counted_boxes(split.truth)
        none = [name for name, count in zip(names, counts, strict=True) if count == 0]
        if none and len(none) < len(names):
            yield (
                f"{split.name} has no box of {len(none)} of {len(names)} classes, {lacks}: "
                f"{_some(none)}"
            )
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        alike.setdefault(" ".join(name.split()).casefold(), []).append(name)
    for same in alike.values():
        if len(same) > 1:
            yield (
                f"the classes {_some(same)} differ in case or spaces only; "
                "if they are one, mend the annotations"
            )


def _doctor(train: DataSplit, others: Sequence[DataSplit]) -> list[tuple[str, str]]:
    """Say what those checks found that cost nothing; notes of the doctor are none here."""
    roles: tuple[Role, ...] = ("val", "test")
    kinds = found_for_free([("train", train), *zip(roles, others, strict=False)])
    told = [kind for kind in kinds if kind.severity != "note"]
    if not told:
        return []
    found = ", ".join(f"{kind.code} {kind.count}" for kind in told)
    number = "1 finding" if len(told) == 1 else f"{len(told)} findings"
    return [("doctor", f"{number}: {found}; fcos-doctor data.root=DIR shows them, and more")]


def _split(split: DataSplit) -> str:
    truth = split.truth
    counted = int((~truth.ignored).sum())
    return (
        f"{split.name}: {len(split)} images, {counted} boxes ({int(truth.ignored.sum())} ignored)"
    )


def _some(names: Sequence[str]) -> str:
    return some_of([class_label(name) for name in names], room=240)
