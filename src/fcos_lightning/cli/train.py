"""``fcos-train``: from a configuration to a trained and evaluated detector."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fcos_lightning.cli.app import run

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Entry point of the command."""
    from fcos_lightning.cli import sweep

    if sweep.is_sweep(sys.argv[1:]):
        sweep.main(sys.argv[1:])
    run(train, "train")


def train(config: DictConfig) -> None:
    """Train a detector as configured, then evaluate its best checkpoint."""
    # Imported here, because this costs seconds that help and mistakes should not.
    from fcos_lightning.runs.ranks import is_first_process
    from fcos_lightning.runs.train import carried_out
    from fcos_lightning.signals import Stopped

    try:
        carried_out(config)
    except Stopped as stop:
        if not is_first_process():
            raise SystemExit(0) from None  # else who started the processes sees a failure
        print(stop, flush=True)
        raise SystemExit(128 + stop.signum) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
