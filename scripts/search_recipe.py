r"""Find the recipe of ``experiment=finetune`` by measuring methods, rates and batches on five sets.

    PYTHONPATH=PACKAGES nice -n 19 python scripts/search_recipe.py FOLDER --weights FILE \
        --bccd DIR --coco DIR --clip-art /usr/share/openclipart/png

It takes many hours of one core; `--parallel 2` takes two, and on a GPU `--parallel 12` shares it.
FOLDER gets the sets, the runs, a file with the figures of each job, and table.md after every job.
It may be killed at any moment; the same command goes on.

BCCD is https://github.com/Shenggan/BCCD_Dataset; of COCO the first 128 images of train2017 do. The
other sets are drawn: shapes, hand-written digits and clip art, the last two on photographs. They
need the packages scikit-image and scikit-learn, and Debian's openclipart-png; a set whose option is
left out is left out.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from recipe.driver import Driver
from recipe.jobs import ASIDE, Plan
from recipe.sets import made_of_two, places


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the sets, and run what is not finished."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=(__doc__ or "").split("\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="of MobileNetV2")
    parser.add_argument("--bccd", type=Path, help="its root")
    parser.add_argument("--coco", type=Path, help="its root")
    parser.add_argument("--clip-art", type=Path, help="the folder with animals/, food/, ...")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--trials", type=int, default=8, help="of the search of each method")
    parser.add_argument("--finals", type=int, default=3, help="methods that get all seeds")
    parser.add_argument("--parallel", type=int, default=1, help="jobs at a time")
    parser.add_argument("--precision", default="32-true", help="of our runs, as trainer.precision")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="that this machine is there for"
    )
    parser.add_argument(
        "--without", nargs="*", default=[], choices=ASIDE, help="parts that settle no setting"
    )
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    folder = given.folder.absolute()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sets = folder / "sets"
    found = places(sets, _whole(given.bccd), _whole(given.coco), _whole(given.clip_art))
    plan = Plan(
        found, made_of_two(sets, found), folder / "pretrained.ckpt", given.finals, given.without
    )
    weights = given.weights.absolute()
    lengths = given.epochs, given.trials
    how = given.parallel, given.precision, given.minutes
    Driver(folder, plan, weights, *lengths, *how).run()


def _whole(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


if __name__ == "__main__":
    main()
