#!/usr/bin/env python
"""Make the code wrong in many places, one at a time, and count which the tests notice.

`python scripts/mutate.py --number 30 --seed 0` changes a sign, a bound or a number of the
detector, the evaluation or the training, in a copy of the repository, and runs the tests that
belong to the file, the nearest first, until one fails. What survives is a test that is missing, or
a change that changes nothing.

The places are drawn by the seed, as many of each room, spread over its files. Results are kept, so
that a run that was stopped goes on; `--again` tries the survivors once more. Status 1 if any is
left but those of which is said why nobody could notice. A hundred places take an hour or two.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fcos_lightning.storage.replacing import write_whole
from mutation.places import Place, chosen, places_of
from mutation.trial import Copy

ROOT = Path(__file__).resolve().parents[1]
#: Mutations that nobody could notice, and why.
UNNOTICEABLE = {
    "_NEVER = -[1e4 -> 12000.0]": "any logit will do whose probability is 0",
    "precision, recall = np.full(([10 -> 11], 101, len(boxes), 4), -1.0), "
    "np.full((10, 1, 4, 3), -1.0)": "nothing is known, in however many rows",
    "enable_model_summary=[False -> True],": "only Trainer.fit prints a summary",
}
ROOMS = tuple(f"src/fcos_lightning/{room}/" for room in ("detector", "evaluation", "training"))


def all_places(repository: Path, seed: int) -> list[Place]:
    """Return every place of the rooms that can be mutated."""
    files = [file for room in ROOMS for file in sorted((repository / room).rglob("*.py"))]
    names = [file.relative_to(repository).as_posix() for file in files]
    return [place for name in names for place in places_of(repository, name, seed)]


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--number", type=int, default=30, help="of places")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("runs/mutations.json"))
    parser.add_argument("--again", action="store_true", help="try the survivors once more")
    parser.add_argument("--list", action="store_true", help="show the places, run nothing")
    given = parser.parse_args()

    every = all_places(ROOT, given.seed)
    places = chosen(every, given.number, ROOMS)
    changes = {place.rank: place.shown((ROOT / place.file).read_bytes()) for place in places}
    shown = {p.rank: f"{p.file}:{p.line}  {changes[p.rank]}" for p in places}
    if given.list:
        print(*shown.values(), sep="\n")
        return 0
    results: dict[str, dict[str, Any]] = {}
    if given.results.is_file():
        results = json.loads(given.results.read_text(encoding="utf-8"))
    done = {rank for rank, one in results.items() if one["killed"] or not given.again}
    given.results.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mutate") as folder:
        copy = None
        for place in places:
            if place.rank in done or changes[place.rank] in UNNOTICEABLE:
                continue
            copy = copy or Copy(ROOT, Path(folder))
            outcome = copy.judged(place)
            results[place.rank] = {"what": shown[place.rank], **asdict(outcome)}
            write_whole(json.dumps(results, indent=1) + "\n", given.results)
            print("." if outcome.killed else "S", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)

    killed = [place for place in places if results.get(place.rank, {}).get("killed")]
    excused = [place for place in places if changes[place.rank] in UNNOTICEABLE]
    survivors = [place for place in places if place not in killed and place not in excused]
    for place in places:
        if place in excused:
            fate = f"cannot be noticed: {UNNOTICEABLE[changes[place.rank]]}"
        else:
            tests = results[place.rank]["by"]
            fate = f"killed by {tests}" if place in killed else f"SURVIVED {tests}"
        print(f"{shown[place.rank].removeprefix('src/fcos_lightning/')}\n    {fate}")
    print(
        f"{len(killed)} of {len(places)} killed, {len(excused)} cannot be noticed; "
        f"seed {given.seed}, drawn of {len(every)} places"
    )
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
