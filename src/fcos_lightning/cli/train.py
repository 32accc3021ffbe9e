"""``fcos-train``: from a configuration to a trained and evaluated detector."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fcos_lightning.errors import SharedError
from fcos_lightning.runs.ranks import is_first_process
from fcos_lightning.signals import Stopped, stopped_in_one_line

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Entry point of the command."""
    with stopped_in_one_line(is_first_process):
        from fcos_lightning.cli import sweep
        from fcos_lightning.cli.app import run

        if sweep.is_sweep(sys.argv[1:]):
            sweep.main(sys.argv[1:])
        run(train, "train")


def train(config: DictConfig) -> None:
    """Train a detector as configured, then evaluate its best checkpoint."""
    # Imported here, because this costs seconds that help and mistakes should not.
    from fcos_lightning.runs.train import carried_out

    try:
        carried_out(config)
    except SharedError:
        if is_first_process():
            raise
        raise SystemExit(2) from None
    except Stopped as stop:
        if not is_first_process():
            raise SystemExit(0) from None  # else who started the processes sees a failure
        print(stop, flush=True)
        raise SystemExit(128 + stop.signum) from None
    except BaseException:
        # Where this was not imported nothing was started; an import that failed is not repeated.
        other_ranks = sys.modules.get("fcos_lightning.training.ranks.other_ranks")
        if other_ranks is not None:
            other_ranks.end_started()
        raise


if __name__ == "__main__":
    main()
