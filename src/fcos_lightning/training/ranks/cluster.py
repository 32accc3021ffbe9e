"""Who starts the processes of a run."""

from __future__ import annotations

import os

from lightning.fabric.plugins import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment


def cluster_plugins() -> list[ClusterEnvironment]:
    """Return what a Trainer has to be told about SLURM, if this process runs under it.

    Lightning's own handling of SLURM's signals is switched off: ``KeepLast`` keeps a checkpoint
    that a run goes on from exactly, and the job script decides whether to go on. A job of one task
    with several devices starts its processes itself, as without SLURM.
    """
    if not SLURMEnvironment.detect():
        return []
    if os.environ.get("SLURM_NTASKS") == "1":
        return [LightningEnvironment()]
    return [SLURMEnvironment(auto_requeue=False)]
