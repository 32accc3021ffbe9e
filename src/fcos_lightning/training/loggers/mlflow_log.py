"""MLflow's records of a run as files in its folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger

_FILE = "file:"


class RunMLFlowLogger(MLFlowLogger):
    """Logs to MLflow, also into a folder.

    MLflow 3.14 and newer open a folder only where MLFLOW_ALLOW_FILE_STORE says so, and offer a
    database instead, for which the light package lacks what it needs. A run is one folder that can
    be moved, so here the folder is allowed, unless the environment says otherwise.

    Args:
        tracking_uri: address of a server; or ``file:`` and a folder, with any letters in it.
        **options: of Lightning's logger.
    """

    def __init__(self, tracking_uri: str, **options: Any) -> None:  # noqa: ANN401
        if tracking_uri.startswith(_FILE) and not tracking_uri.startswith(f"{_FILE}//"):
            tracking_uri = Path(tracking_uri.removeprefix(_FILE)).absolute().as_uri()
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        super().__init__(tracking_uri=tracking_uri, **options)
