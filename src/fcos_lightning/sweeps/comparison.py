"""The jobs of a sweep held against each other, as ``fcos-compare`` does."""

from __future__ import annotations

from collections.abc import Callable

from fcos_lightning.errors import UserError
from fcos_lightning.runs.comparing.finished import MOST_RUNS
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.sweeps.manifest import Job, Manifest

#: Beside the table of the sweep.
PAGE = "comparison.html"


def write_comparison(manifest: Manifest, say: Callable[[str], None]) -> bool:
    """Write ``comparison.html`` and ``comparison.json`` of the best jobs, the best one first.

    Jobs without detections of their own are left out. Where jobs cannot be compared, as of other
    classes, that is said in a line, and the sweep is as finished as it was.

    Args:
        manifest: of the sweep.
        say: prints a line.

    Returns:
        Whether there is one.
    """
    jobs = sorted(filter(lambda job: _is_whole(manifest, job), manifest.jobs), key=_order)
    if len(jobs) < 2:
        return False
    if "report=false" in manifest.fixed:
        say(f"no {PAGE}: report=false leaves pages out; fcos-compare makes it of the job folders")
        return False
    if len(jobs) > MOST_RUNS:
        say(f"{PAGE}: of the {MOST_RUNS} best of {len(jobs)} jobs")
        jobs = jobs[:MOST_RUNS]
    from fcos_lightning.runs.comparing.comparison import Comparison
    from fcos_lightning.storage.bars import counting_bar

    folders = [manifest.run_folder(job) for job in jobs]
    resamples = 1000
    try:
        comparison = Comparison.of(folders, names=[_name(job) for job in jobs])
        title = f"Sweep {manifest.folder.name}"
        with counting_bar("comparison", resamples * len(folders)) as advance:
            comparison.write(manifest.folder, title, resamples=resamples, advance=advance)
    except UserError as error:
        say(f"no {PAGE}: {error}")
        return False
    return True


def _is_whole(manifest: Manifest, job: Job) -> bool:
    run = RunFolder(manifest.run_folder(job))
    files = (run.metrics, run.predictions, run.best, run.config)
    return job.state == "done" and job.ap is not None and all(file.is_file() for file in files)


def _order(job: Job) -> tuple[float, int]:
    return -(job.ap or 0.0), job.number


def _name(job: Job) -> str:
    """Return what tells a job from others: its number, and its values by the ends of their keys."""
    values = [f"{key.rsplit('.', 1)[-1].lstrip('+')}={value}" for key, value in job.values.items()]
    return " ".join((f"{job.number}:", *values))
