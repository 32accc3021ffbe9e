"""Which of the processes of a run this one is, whoever started them."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Tell whether this process is the one that may write: rank 0 of a run."""
    return global_rank() == 0


def global_rank() -> int:
    """Return this process's number in the run, as whoever started the processes gave it.

    torchrun and Lightning's launcher on several nodes, SLURM's srun, Lightning's own launcher.
    """
    for name in ("RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit() and not _alone(name):
            return int(os.environ[name])
    local, node = (int(os.environ.get(name, "0")) for name in ("LOCAL_RANK", "NODE_RANK"))
    return local or node  # only its being 0 matters here


def _alone(name: str) -> bool:
    """SLURM numbers its tasks also where there is one, which then starts processes itself."""
    return name == "SLURM_PROCID" and os.environ.get("SLURM_NTASKS", "1") == "1"


def started_from_outside() -> bool:
    """Tell whether torchrun or srun started the processes of this run, rather than rank 0."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ.get("WORLD_SIZE", "1")) > 1
    return "SLURM_PROCID" in os.environ and not _alone("SLURM_PROCID")
