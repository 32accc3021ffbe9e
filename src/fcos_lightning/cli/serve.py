"""``fcos-serve``: a checkpoint behind HTTP, with a page to drop photos on."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

from fcos_lightning.errors import UserError
from fcos_lightning.signals import Asked, stopped_in_one_line

if TYPE_CHECKING:
    from omegaconf import DictConfig

#: Modules of the extra.
_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "aiohttp")


def main() -> None:
    """Entry point of the command."""
    with stopped_in_one_line():
        from fcos_lightning.cli.app import run

        run(serve, "serve")


def serve(config: DictConfig) -> None:
    """Load a checkpoint and answer until a signal asks to stop."""
    from fcos_lightning.cli.app import required
    from fcos_lightning.extras import absent, pip_install
    from fcos_lightning.runs.config.kinds import check_kinds

    check_kinds(config)
    path = required(
        config, "ckpt", "give a checkpoint, as ckpt=runs/NAME/TIME/checkpoints/best.ckpt"
    )
    if missing := absent(*_NEEDED):
        raise UserError(f"fcos-serve needs {', '.join(missing)}: {pip_install('serve')}")

    # Imported here, because this costs seconds that help and mistakes should not.
    from fcos_lightning.serving.limits import Limits

    limits = Limits(
        batch_size=config.batch_size,
        delay_ms=config.delay_ms,
        queue=config.queue,
        threads=config.threads,
        max_bytes=config.max_bytes,
        max_pixels=config.max_pixels,
        timeout_s=config.timeout_s,
    )
    if not 0 <= config.score_threshold <= 1:
        raise UserError(f"score_threshold={config.score_threshold}: give 0 to 1")
    if config.private_urls and not config.urls:
        raise UserError("private_urls=true: is about addresses; add urls=true")

    from fcos_lightning.serving.access import TOKEN_VARIABLE, Access, is_loopback, token_of
    from fcos_lightning.serving.server import bound_socket

    token = token_of(config.token, config.token_file)
    if config.token is not None:
        print(
            f"note: all users of this machine can read token=; {TOKEN_VARIABLE} or token_file= "
            "keep it to yourself",
            file=sys.stderr,
        )
    if not is_loopback(config.host) and token is None and not config.open:
        raise UserError(
            f"host={config.host}: other machines could use the detector without a token; set "
            f"{TOKEN_VARIABLE} or token_file=, or say open=true"
        )
    access = Access(config.host, token, tuple(config.hosts))
    with bound_socket(config.host, config.port) as listener:
        from pathlib import Path

        import numpy as np

        from fcos_lightning.runs.objects.predictors import predictor_from
        from fcos_lightning.serving.application import Served, Service
        from fcos_lightning.serving.server import serve as answer

        predictor = predictor_from(config, path, score_threshold=0.0)
        grey = np.full((predictor.shorter_side, predictor.longer_side, 3), 128, np.uint8)
        predictor(grey)  # takes longer than those that follow, and says what is wrong with weights
        began = time.monotonic()
        predictor(grey)
        served = Served(
            predictor,
            Path(path).name,
            score_threshold=config.score_threshold,
            limits=limits,
            access=access,
            urls=config.urls,
            private_urls=config.private_urls,
            s_per_image=time.monotonic() - began,
        )
        asked = answer(Service(served), listener, limits.timeout_s)
    if asked == 0:
        raise UserError("the server ended by itself; its log says why")
    if asked != signal.SIGTERM:
        raise Asked(asked)


if __name__ == "__main__":
    main()
