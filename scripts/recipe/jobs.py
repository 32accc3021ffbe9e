"""What is to be run, in an order in which a half-finished table tells the most."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.sweeps.course import ap_by_epoch
from fcos_lightning.sweeps.manifest import FILE, Manifest
from recipe.sets import Place

#: By name, in words of ``experiment=finetune``. Those with FCOS's box loss are without the official
#: code's added one, as ``fcos_small`` is.
METHODS: Mapping[str, tuple[str, ...]] = {
    "fcos": ("method=fcos_small",),
    "fcos_iou": ("method=fcos_iou", "model.loss.box_epsilon=plain"),
    "dsla": ("method=dsla",),
    "atss": ("method=atss", "model.loss.box_epsilon=plain"),
    "gfl": ("method=gfl",),
    "tal": ("method=tal",),
}
PEER = "torchvision"
#: What there was to beat, and what the experiment is now.
BEFORE, RECIPE = "fcos", "gfl"
#: What says something of its own, and is not needed to choose.
ASIDE = ("starts", "curve", "long")
SEEDS = (0, 1, 2)
#: Nothing that a person would look at in a single run.
_QUIET = (
    *("report=false", "logger.tensorboard=null", "callbacks.previews=null"),
    *("callbacks.curves=null", "callbacks.progress=null"),
)
#: The rate is that of 4 images, and grows with the batch.
SPACE = ("schedule.lr=tag(log,interval(0.0002,0.002))", "data.batch_size=2,4,8")


#: Ways of sparing what a backbone knows, by what the name of a job says of them.
STARTS: Mapping[str, tuple[str, ...]] = {
    "": (),
    "_waits": ("schedule.backbone_waits=0.25",),
    "_by_stages": ("schedule.layer_lr_decay=0.7",),
}
#: Longer runs of the recipe, with its own augmentation and with a strong one.
LONG: Mapping[str, tuple[str, ...]] = {
    "50_epochs": ("schedule.max_epochs=50",),
    "50_epochs_mosaic": ("schedule.max_epochs=50", "augment=mosaic"),
}
#: Of ``sweep=learning_curve``: as many steps for any number of images, measured six times.
CURVE = (
    *("sweep=learning_curve", "seed=0,1,2", "schedule.max_epochs=null"),
    *("schedule.max_steps=876", "trainer.check_val_every_n_epoch=null"),
    "trainer.val_check_interval=146",
)


@dataclass(frozen=True)
class Setting:
    """What is searched for each method.

    Attributes:
        lr: for 4 images.
        batch: images of a step.
    """

    lr: float = 0.0007
    batch: int = 4


@dataclass(frozen=True)
class Job:
    """One run, or one search.

    Attributes:
        kind: ``ours``, ``peer``, ``search``, or ``curve``, AP against the number of images.
        place: the set.
        method: of ``METHODS``, or ``PEER``.
        setting: of ours.
        seed: of everything random.
        extra: what the name of the job says of further words, and these.
        keeps: whether its best checkpoint is needed later.
    """

    kind: Literal["ours", "peer", "search", "curve"]
    place: Place
    method: str
    setting: Setting = Setting()
    seed: int = 0
    extra: tuple[str, tuple[str, ...]] = ("", ())
    keeps: bool = False

    @property
    def name(self) -> str:
        """What its folder and its result are called."""
        if self.kind in ("search", "curve"):
            return f"{self.kind}-{self.method}"
        parts = [self.place.name, self.method]
        if self.kind == "ours":
            parts += [f"lr{self.setting.lr:g}", f"b{self.setting.batch}"]
        return "-".join((*parts, *filter(None, (self.extra[0],)), f"seed{self.seed}"))

    def words(self, weights: Path, epochs: int) -> list[str]:
        """Return the words of ``fcos-train``, but for what a search or a run adds."""
        given = [
            "experiment=finetune",
            *METHODS[self.method],
            *self.place.words,
            f"schedule.max_epochs={epochs}",
            f"model.backbone.weights={weights}",
            f"seed={self.seed}",
            *_QUIET,
            *self.extra[1],
        ]
        # Of words about the same thing, Hydra takes some only once: the last one counts.
        return list({word.split("=")[0]: word for word in given}.values())


@dataclass(frozen=True)
class Plan:
    """All jobs, as far as they are known.

    Attributes:
        places: the sets.
        searched: the set that settings are searched on.
        pretrained: where the checkpoint is kept that stands for one of COCO.
        finals: how many methods, the best after their searches, are run with all seeds; ``BEFORE``
            as it is and torchvision's are in any case.
        without: of ``ASIDE``, what is left out.
    """

    places: Sequence[Place]
    searched: Place
    pretrained: Path
    finals: int = 3
    without: Sequence[str] = ()

    def jobs(self, results: Mapping[str, Mapping[str, Any]]) -> Iterator[Job]:
        """Yield the jobs in order: what later ones are may depend on results of earlier ones.

        Args:
            results: by the names of jobs that are done.
        """
        methods = list(METHODS)
        for place in self.places:  # every method as it is, once
            yield from (Job("ours", place, method) for method in methods)
            yield Job("peer", place, PEER)
        cells = [place for place in self.places if place.name == "cells"]
        for place in cells if "starts" not in self.without else ():
            yield from start_jobs(place, self.pretrained)
        for method in methods:
            yield Job("ours", self.searched, method)
            yield Job("search", self.searched, method)
        for seed in SEEDS[1:]:  # what there was to beat
            for place in self.places:
                yield Job("peer", place, PEER, seed=seed)
                yield Job("ours", place, BEFORE, seed=seed)
        if "curve" not in self.without:
            yield from (Job("curve", place, RECIPE) for place in cells)
        for seed in SEEDS if "long" not in self.without else ():
            for place in self.places:
                for extra in LONG.items():
                    yield Job("ours", place, RECIPE, seed=seed, extra=extra)
        best = self.best(results)
        for seed in SEEDS:
            for place in self.places:
                for method in best[: self.finals]:
                    yield Job("ours", place, method, self.found(method, results), seed)

    def found(self, method: str, results: Mapping[str, Mapping[str, Any]]) -> Setting:
        """Return the best setting of a method: that of the search, or the one it had before."""
        before = results.get(Job("ours", self.searched, method).name, {}).get("AP", -1.0)
        search = results.get(f"search-{method}", {})
        if search.get("AP", -1.0) <= before:
            return Setting()
        return Setting(float(search["lr"]), int(search["batch"]))

    def best(self, results: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Return the methods, the best on the searched set first; none before all are searched."""
        if any(f"search-{method}" not in results for method in METHODS):
            return []

        def reached(method: str) -> float:
            names = f"search-{method}", Job("ours", self.searched, method).name
            return max(float(results.get(name, {}).get("AP", -1.0)) for name in names)

        return sorted(METHODS, key=reached, reverse=True)


def start_jobs(cells: Place, pretrained: Path) -> Iterator[Job]:
    """Yield runs on about 50 images, from ImageNet's weights and from a trained detector.

    The detector stands for one of COCO, and has learnt drawn shapes for some hundred steps.

    Args:
        cells: the set of 292 images.
        pretrained: where its checkpoint is kept.
    """
    drawn = ("data=shapes", f"data.root={pretrained.parent / 'sets/more_shapes'}")
    numbers = ("data.train_images=800", "data.val_images=100", "data.image_px=240")
    shapes = Place("more_shapes", (*drawn, *numbers, "data.drawing_seed=1", *cells.words[-2:]))
    length = ("schedule.max_epochs=null", "schedule.max_steps=600")
    yield Job("ours", shapes, RECIPE, extra=("pretraining", length), keeps=True)
    # As many steps as 12 epochs of 50 images have; measured four times.
    few = (
        *("data.train_share=0.17", "schedule.max_epochs=null", "schedule.max_steps=150"),
        *("trainer.check_val_every_n_epoch=3",),
    )
    trained = ("experiment=finetune_coco", f"init_from={pretrained}")
    for seed in SEEDS:
        for start, words in (("imagenet", ()), ("pretrained", trained)):
            for name, more in STARTS.items():
                yield Job(
                    "ours",
                    cells,
                    RECIPE,
                    seed=seed,
                    extra=(f"{start}{name}", (*few, *words, *more)),
                )


def figures_of_run(folder: Path) -> dict[str, Any]:
    """Return what a finished run of ours came to."""
    run = RunFolder(folder)
    summary = json.loads(run.metrics.read_text(encoding="utf-8"))
    course = [ap for _, ap in sorted(ap_by_epoch(folder).items())]
    return {**{name: summary[name] for name in ("AP", "AP50", "AP75")}, "course": course}


def figures_of_search(folder: Path) -> dict[str, Any]:
    """Return what a search found; without a finished trial, nothing."""
    jobs = Manifest.load(folder).jobs if (folder / FILE).is_file() else []
    done = [job for job in jobs if job.state == "done" and job.ap is not None]
    trials = [
        {
            "lr": _value(job.values, "schedule.lr"),
            "batch": _value(job.values, "data.batch_size"),
            "AP": job.ap,
            "state": job.state,
            "minutes": job.seconds / 60,
        }
        for job in jobs
    ]
    if not done:
        return {"AP": -1.0, "trials": trials}
    best = max(done, key=lambda job: job.ap or 0.0)
    found = {"AP": best.ap, "lr": _value(best.values, "schedule.lr")}
    return {**found, "batch": int(_value(best.values, "data.batch_size")), "trials": trials}


def figures_of_curve(folder: Path) -> dict[str, Any]:
    """Return the APs of a learning curve, by the share of the images."""
    found: dict[str, list[float]] = {}
    for job in Manifest.load(folder).jobs:
        if job.ap is not None:
            found.setdefault(job.values["data.train_share"], []).append(job.ap)
    return {"AP": max(map(max, found.values())), "by_share": found}


def _value(values: Mapping[str, str], key: str) -> float:
    return float(values[key])
