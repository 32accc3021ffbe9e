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

#: By name, what differs from ``experiment=finetune``. Those with FCOS's box loss take it as that
#: experiment does, without the official code's added one.
METHODS: Mapping[str, tuple[str, ...]] = {
    "fcos": (),
    "fcos_iou": ("method=fcos_iou", "model.loss.box_epsilon=plain"),
    "dsla": ("method=dsla",),
    "atss": ("method=atss", "model.loss.box_epsilon=plain"),
    "gfl": ("method=gfl",),
    "tal": ("method=tal",),
}
PEER = "torchvision"
SEEDS = (0, 1, 2)
#: Nothing that a person would look at in a single run.
_QUIET = (
    *("report=false", "logger.tensorboard=null", "callbacks.previews=null"),
    *("callbacks.curves=null", "callbacks.progress=null"),
)
#: The rate is that of 4 images, and grows with the batch.
SPACE = ("schedule.lr=tag(log,interval(0.0002,0.002))", "data.batch_size=2,4,8")


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
        kind: ``ours``, ``peer`` or ``search``.
        place: the set.
        method: of ``METHODS``, or ``PEER``.
        setting: of ours.
        seed: of everything random.
        extra: further words, and what the name of the job says of them.
    """

    kind: Literal["ours", "peer", "search"]
    place: Place
    method: str
    setting: Setting = Setting()
    seed: int = 0
    extra: tuple[str, tuple[str, ...]] = ("", ())

    @property
    def name(self) -> str:
        """What its folder and its result are called."""
        if self.kind == "search":
            return f"search-{self.method}"
        parts = [self.place.name, self.method]
        if self.kind == "ours":
            parts += [f"lr{self.setting.lr:g}", f"b{self.setting.batch}"]
        return "-".join((*parts, *filter(None, (self.extra[0],)), f"seed{self.seed}"))

    def words(self, weights: Path, epochs: int) -> list[str]:
        """Return the words of ``fcos-train``, but for what a search or a run adds."""
        return [
            "experiment=finetune",
            *METHODS[self.method],
            *self.place.words,
            f"schedule.max_epochs={epochs}",
            f"model.backbone.weights={weights}",
            f"seed={self.seed}",
            *_QUIET,
            *self.extra[1],
        ]


@dataclass(frozen=True)
class Plan:
    """All jobs, as far as they are known.

    Attributes:
        places: the sets.
        searched: the set that settings are searched on.
        finals: how many methods, the best after their searches, are run with all seeds; ``fcos``
            as it is and torchvision's are in any case.
    """

    places: Sequence[Place]
    searched: Place
    finals: int = 3

    def jobs(self, results: Mapping[str, Mapping[str, Any]]) -> Iterator[Job]:
        """Yield the jobs in order: what later ones are may depend on results of earlier ones.

        Args:
            results: by the names of jobs that are done.
        """
        methods = list(METHODS)
        for place in self.places:  # every method as it is, once
            yield from (Job("ours", place, method) for method in methods)
            yield Job("peer", place, PEER)
        for method in methods:
            yield Job("ours", self.searched, method)
            yield Job("search", self.searched, method)
        for seed in SEEDS[1:]:  # what there was to beat
            for place in self.places:
                yield Job("peer", place, PEER, seed=seed)
                yield Job("ours", place, "fcos", seed=seed)
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
        {"lr": _value(job.values, "schedule.lr"), "batch": _value(job.values, "data.batch_size")}
        | {"AP": job.ap, "state": job.state, "minutes": job.seconds / 60}
        for job in jobs
    ]
    if not done:
        return {"AP": -1.0, "trials": trials}
    best = max(done, key=lambda job: job.ap or 0.0)
    return {
        "AP": best.ap,
        "lr": _value(best.values, "schedule.lr"),
        "batch": int(_value(best.values, "data.batch_size")),
        "trials": trials,
    }


def _value(values: Mapping[str, str], key: str) -> float:
    return float(values[key])
