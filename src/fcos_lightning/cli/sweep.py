"""``fcos-train -m``: many runs, each a process of its own, finished whatever happens to one.

Hydra's own multirun runs all jobs in one process, and Lightning's launcher would hand ``-m`` on to
the processes of a job, each of which would run the whole sweep again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcos_lightning.cli.app import fail_if_refused
from fcos_lightning.errors import UserError
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.runs.config.composed import SEARCHED, compose, config_dir, own_files
from fcos_lightning.runs.config.words import quoted_words, refuse_bare, text_of
from fcos_lightning.runs.options.keys import settings_of
from fcos_lightning.sweeps.settings import check_settings, with_base

if TYPE_CHECKING:
    from fcos_lightning.sweeps.jobs import Launcher
    from fcos_lightning.sweeps.manifest import Manifest
    from fcos_lightning.sweeps.space import Space

_FLAGS = ("-m", "--multirun")
#: Settings that say how jobs run rather than which; they may change when a sweep goes on.
_MOVABLE = (
    *("parallel", "launcher", "slurm", "trials", "pruning", "pruning_warmup", "on_same_error"),
    *("train", "images"),
    "resume",
)
#: The largest grid whose every configuration is composed before anything runs.
_COMPOSED_FIRST = 64


def is_sweep(words: Sequence[str]) -> bool:
    """Tell whether a command line asks for many runs."""
    return any(word in _FLAGS or word.startswith(("sweep=", "sweep.")) for word in words)


def main(words: Sequence[str]) -> None:
    """Run a sweep; the process ends with 0 if every job was done, 1 if one failed."""
    try:
        words = [word for word in words if word not in _FLAGS]
        code = sweep(quoted_words(words, swept=True))
    except Exception as error:
        fail_if_refused(error)
        raise
    raise SystemExit(code)


def sweep(words: Sequence[str]) -> int:
    """Run the jobs that a command line asks for and that are not finished yet.

    Returns:
        The exit status.

    Raises:
        UserError: if the command line or an earlier sweep in its folder does not fit.
    """
    words = own_files(words)
    _refuse_hydra(words)
    refuse_bare(words, settings_of(config_dir(), "train"))
    own = [word for word in words if word.startswith(("sweep=", "sweep."))]
    settings = _settings([*(word for word in words if word.startswith(SEARCHED)), *own])
    rest = [word for word in words if word not in own]
    folder = Path(settings["resume"]).absolute() if settings["resume"] else None
    if folder is not None and not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise UserError(f"sweep.resume={settings['resume']}: {what}; give a sweep's folder")
    if folder is not None and rest:
        raise UserError(
            f"{rest[0]}: sweep.resume= goes on with the jobs of that sweep; leave other words out"
        )
    rest = with_base(rest, settings) if folder is None else rest
    space, manifest = _opened(folder, rest, settings, own)
    # Imported here, because this costs seconds that mistakes should not.
    from rich.console import Console

    from fcos_lightning.sweeps.article import Article
    from fcos_lightning.sweeps.comparison import write_comparison
    from fcos_lightning.sweeps.manifest import Lock
    from fcos_lightning.sweeps.results import write_report
    from fcos_lightning.sweeps.runner import Interrupted, Runner
    from fcos_lightning.sweeps.same_error import Alike

    lock = Lock(manifest.folder)
    console = Console(soft_wrap=True)
    try:
        # Another start of this sweep may have worked, and ended, before this one held the folder.
        manifest = _as_it_is_now(manifest, settings, space)
        if not manifest.jobs and settings["search"] == "grid":
            for job_words in space.grid():
                manifest.add(job_words)
        manifest.save()
        article = Article(manifest, settings, _say) if settings["article"] else None
        if not settings["train"]:
            return 0
        search = _search(manifest, space, settings)
        trials = int(settings["trials"]) if search else 0
        if manifest.unfinished or len(manifest.jobs) < trials:
            launcher = _launcher(settings, manifest.folder, lock.fd)
            total = max(len(manifest.jobs), trials)
            done = len(manifest.jobs) - len(manifest.unfinished)
            _say(f"sweep folder {manifest.folder}: {total} jobs, {done} finished before")
            stop_alike = settings["on_same_error"] == "stop"
            parallel = int(settings["parallel"])
            runner = Runner(manifest, launcher, parallel, search, trials, _say, stop_alike)
            try:
                runner.run()
            except Alike as stop:
                write_report(manifest, console)
                if article is not None:
                    article.write()
                _say(stop.in_words(manifest.folder))
                return 1
            except Interrupted as stop:
                write_report(manifest, console)
                if article is not None:
                    article.write()
                _say(f"stopped by {stop}; the same command again runs what is unfinished")
                return 128 + stop.signum
        else:
            _say(f"sweep folder {manifest.folder}: all jobs are finished; nothing to run")
        compared = write_comparison(manifest, _say)
        write_report(manifest, console, compared)
        if article is not None:
            article.write()
    finally:
        lock.release()
    failed = [job for job in manifest.jobs if job.state == "failed"]
    if failed:
        _say(
            f"{len(failed)} of {len(manifest.jobs)} jobs failed; the same command again runs them "
            "once more"
        )
    return 1 if failed else 0


def _say(line: str) -> None:
    print(printable(line, LONGEST_LINE), flush=True)


def _refuse_hydra(words: Sequence[str]) -> None:
    for word in words:
        if word.startswith("-"):
            raise UserError(f"{word}: not known together with -m; try it on a single run")
        hydra = word.lstrip("+~").startswith(("hydra.", "hydra/"))
        if hydra and not word.startswith(SEARCHED):
            raise UserError(
                f"{word}: fcos-train runs sweeps itself, see sweep.launcher and sweep.search"
            )
        if word.split("=")[0] in ("run_dir", "resume"):
            raise UserError(
                f"{word}: each job of a sweep has a folder of its own; say sweep.dir=DIR for all, "
                "or sweep.resume=DIR to go on"
            )


def _settings(own: Sequence[str]) -> dict[str, Any]:
    """Compose ``conf/sweep`` with the words that begin with ``sweep``."""
    config = compose("sweep", own)
    settings: dict[str, Any] = config["sweep"]
    check_settings(settings)
    return settings


def _opened(
    folder: Path | None, words: Sequence[str], settings: dict[str, Any], own: Sequence[str]
) -> tuple[Space, Manifest]:
    """Return what is swept, and the manifest: of an earlier start, or a new one."""
    from fcos_lightning.sweeps.manifest import FILE, Manifest
    from fcos_lightning.sweeps.space import parse_space
    from fcos_lightning.sweeps.stored_words import check_stored

    if folder is not None:
        manifest = Manifest.load(folder)
        given = {word.split("=")[0].removeprefix("sweep.") for word in own}
        for key in given:
            if key.split(".")[0] not in _MOVABLE:
                raise UserError(
                    f"sweep.{key}: a sweep goes on as it began; beside sweep.resume only "
                    f"{', '.join(f'sweep.{name}' for name in _MOVABLE[:-1])} may be given"
                )
        for key, value in manifest.settings.items():
            if key not in {name.split(".")[0] for name in given} and key in settings:
                settings[key] = value
        check_settings(settings)
        if settings["launcher"] != "local" and "launcher" not in given:
            raise UserError(
                f"sweep.resume={folder}: its jobs ran through {settings['launcher']}; say "
                "sweep.launcher= and sweep.slurm= again, or sweep.launcher=local"
            )
        if "slurm" not in {name.split(".")[0] for name in given}:
            settings["slurm"] = None  # it would go into a job script
        space = parse_space(manifest.words, settings["params"], settings["cases"])
        check_stored(space, folder)
        return space, _of_space(manifest, manifest.words, space)

    space = parse_space(words, settings["params"], settings["cases"])
    _check(space, settings)
    manifest = Manifest(
        _folder(words, settings, space), tuple(words), _lasting(settings), space.fixed
    )
    if not (manifest.folder / FILE).is_file():
        _make(manifest.folder)
        return space, manifest
    return space, _as_it_is_now(manifest, settings, space)


def _as_it_is_now(manifest: Manifest, settings: dict[str, Any], space: Space) -> Manifest:
    """Read back the jobs of a sweep, if its folder holds any.

    Raises:
        UserError: if it holds another sweep.
    """
    from fcos_lightning.sweeps.manifest import FILE, Manifest

    if not (manifest.folder / FILE).is_file():
        return manifest
    earlier = Manifest.load(manifest.folder)
    kept = [(one["params"], one.get("cases", [])) for one in (settings, earlier.settings)]
    if manifest.words != earlier.words or kept[0] != kept[1]:
        raise UserError(
            f"{manifest.folder}: holds another sweep; choose a new folder by sweep.dir=DIR, or go "
            f"on with that one by sweep.resume={manifest.folder}"
        )
    return _of_space(earlier, manifest.words, space)


def _of_space(manifest: Manifest, words: Sequence[str], space: Space) -> Manifest:
    """Return a sweep that was read back, its jobs those that its words give.

    Raises:
        UserError: if it has any other.
    """
    for job in manifest.jobs:
        try:
            space.check_holds(job.swept)
        except UserError as error:
            raise UserError(f"{manifest.folder}: job {job.number}: {error}") from error
    return replace(manifest, words=tuple(words), fixed=space.fixed)


def _check(space: Space, settings: dict[str, Any]) -> None:
    """Compose what will run, so that a mistyped word is reported before anything does."""
    from fcos_lightning.sweeps.space import check_countable

    if settings["search"] == "optuna":
        space.distributions()
        return
    check_countable(space, int(settings["most"]))
    jobs = space.grid() if settings["train"] else []
    for words in jobs if len(jobs) <= _COMPOSED_FIRST else jobs[:1]:
        compose("train", [*space.fixed, *words])


def _lasting(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in ("resume", "dir", "train")}


def _folder(words: Sequence[str], settings: dict[str, Any], space: Space) -> Path:
    """Return the sweep's folder, which the same command finds again."""
    if settings["dir"]:
        return Path(settings["dir"]).absolute()
    which = [*sorted(words), settings["search"], settings["seed"], settings["params"]]
    which += [settings["cases"]] if settings["cases"] else []
    digest = hashlib.sha256(repr(which).encode()).hexdigest()[:8]
    named = next((word for word in space.fixed if word.startswith("name=")), "")
    name = text_of(named) or str(compose("train", space.fixed)["name"])
    return Path("runs", name, f"sweep_{digest}").absolute()


def _make(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"sweep.dir={folder}: is not empty, and holds no sweep; choose a new one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the sweep's folder {folder}: {error.strerror}") from error


def _search(manifest: Manifest, space: Space, settings: dict[str, Any]) -> Any:  # noqa: ANN401
    if settings["search"] != "optuna":
        return None
    from fcos_lightning.sweeps.search import Search

    return Search(
        manifest.folder,
        space,
        int(settings["seed"]),
        bool(settings["pruning"]),
        int(settings["pruning_warmup"]),
    )


def _launcher(settings: dict[str, Any], folder: Path, lock_fd: int) -> Launcher:
    from fcos_lightning.sweeps.jobs import LocalLauncher, SubmititLauncher

    if settings["launcher"] == "local":
        return LocalLauncher(int(settings["parallel"]), lock_fd)
    cluster = "slurm" if settings["launcher"] == "slurm" else "local"
    return SubmititLauncher(folder / "submitit", cluster, settings["slurm"] or {})
