"""``fcos-compare``: runs beside one another, and whether what differs is chance."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcos_lightning.errors import UserError
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.signals import stopped_in_one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omegaconf import DictConfig


def main() -> None:
    """Entry point of the command."""
    with stopped_in_one_line():
        from fcos_lightning.cli.app import fail_if_refused, run
        from fcos_lightning.runs.config.words import as_list, plain_words

        try:
            folders, words = plain_words(sys.argv[1:])
            words = [*words, *_data_of_first(folders, words)]
        except Exception as error:
            fail_if_refused(error)
            raise
        sys.argv[1:] = [*words, *([as_list("runs", folders)] if folders else [])]
        run(compare, "compare")


def _data_of_first(folders: Sequence[str], words: Sequence[str]) -> list[str]:
    """Let ``data.root=`` and so on change the data of the first run, where no others are given.

    Raises:
        UserError: if they cannot be told.
    """
    keys = {word.partition("=")[0].lstrip("+") for word in words if "=" in word}
    if not folders or "data" in keys or not any(key.startswith("data.") for key in keys):
        return []
    from fcos_lightning.checkpoints import Checkpoint
    from fcos_lightning.runs.config.description import FROM_CHECKPOINT, offer_data_of
    from fcos_lightning.storage.run_folder import RunFolder

    best = RunFolder(Path(folders[0]).expanduser()).best
    if not offer_data_of(Checkpoint.read(best).about):
        raise UserError(f"{best}: does not say which data; give data=NAME")
    return [f"data={FROM_CHECKPOINT}"]


def compare(config: DictConfig) -> None:
    """Read finished runs, and write the page that holds them against each other."""
    from fcos_lightning.runs.comparing.finished import check_finished
    from fcos_lightning.runs.config.kinds import check_kinds

    check_kinds(config)
    folders = [Path(str(folder)) for folder in config.runs]
    check_finished(folders)
    if not 1 <= config.resamples <= _MOST_RESAMPLES:
        raise UserError(f"resamples={config.resamples}: give 1 to {_MOST_RESAMPLES}")
    # Imported here, because this costs seconds that help and mistakes should not.
    from fcos_lightning.reports.compare.write import NUMBERS, PAGE
    from fcos_lightning.runs.comparing.comparison import Comparison
    from fcos_lightning.runs.folder import new_levels, new_run_folder, removed_if_stopped
    from fcos_lightning.storage.bars import counting_bar
    from fcos_lightning.storage.folders import complete_or_absent

    comparison = Comparison.of(folders, config if config.get("data") is not None else None)
    made = new_levels(None) if config.run_dir is None else 0
    folder = new_run_folder(config.run_dir, config.name)
    with (
        removed_if_stopped(folder, made),
        complete_or_absent(folder, last=PAGE) as draft,
        counting_bar("comparison", config.resamples * len(folders)) as advance,
    ):
        numbers = comparison.write(
            draft, place=folder, resamples=config.resamples, seed=config.seed, advance=advance
        )
    print_comparison(numbers, folder)
    print(printable(f"{PAGE} and {NUMBERS} in {folder}", LONGEST_LINE))


#: More take long and tell no more.
_MOST_RESAMPLES = 100_000


def print_comparison(numbers: dict[str, Any], folder: Path) -> None:
    """Print a table of the runs, and what the comparison says."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    title = f"{numbers['images']} images of {escape(printable(numbers['split'], 60))}"
    table = Table(title=title, title_justify="left")
    table.add_column("run", overflow="fold")
    # Bounds stand below their figures, or names of runs would have no room in 80 columns.
    for column in ("AP\n95 of 100 draws", "AP50", "AP75", "against the first\n95 of 100 draws"):
        table.add_column(column, justify="right")
    for run in numbers["runs"]:
        figures, gap = run["figures"], run["against_first"]
        table.add_row(
            escape(printable(run["name"])),
            _with_bounds(figures["AP"]),
            _shown(figures["AP50"]["value"]),
            _shown(figures["AP75"]["value"]),
            "" if gap is None else _with_bounds(gap["AP"], "+"),
        )
    console.print(table)
    for sentence in numbers["verdict"]:
        print(printable(sentence, LONGEST_LINE))


def _with_bounds(figure: dict[str, float | None], sign: str = "") -> str:
    value, low, high = (_shown(figure[key], sign) for key in ("value", "low", "high"))
    return f"{value}\n{low} to {high}"


def _shown(figure: float | None, sign: str = "") -> str:
    return "-" if figure is None else f"{figure:{sign}.3f}"


if __name__ == "__main__":
    main()
