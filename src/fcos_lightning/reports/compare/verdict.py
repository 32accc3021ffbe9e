"""What a comparison says, in sentences with their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fcos_lightning.printing import grouped


def verdicts(numbers: Mapping[str, Any]) -> list[str]:
    """Return a sentence or two on each run that is held against the first.

    Args:
        numbers: of the comparison.
    """
    if not numbers["objects"]:
        return [f"{numbers['split']} has no object to be found: nothing is measured."]
    return [" ".join(_of(numbers, place)) for place in range(1, len(numbers["runs"]))]


def _of(numbers: Mapping[str, Any], place: int) -> Iterator[str]:
    first, run = numbers["runs"][0], numbers["runs"][place]
    gap, value = run["against_first"]["AP"], run["figures"]["AP"]["value"]
    how = "higher" if gap["value"] > 0 else "lower"
    if gap["value"] == 0 and gap["low"] == gap["high"] == 0:
        yield f"{run['name']} has the same AP as {first['name']}, {value:.3f}, in every draw."
    else:
        yield (
            f"{run['name']} has AP {value:.3f}, {abs(gap['value']):.3f} {how} than "
            f"{first['name']}. Over draws of images the difference lies between {gap['low']:+.3f} "
            f"and {gap['high']:+.3f}"
        )
        if gap["low"] > 0 or gap["high"] < 0:
            yield "(95 of 100), on one side of 0: other images would hardly turn it round."
        else:
            yield (
                "(95 of 100), which holds 0: on other images of this kind it may turn round; "
                "more validation images would decide."
            )
    objects = numbers["pairs"][place - 1]["objects"]
    yield (
        f"Each at its own threshold, it finds {_objects(objects['other'])} that {first['name']} "
        f"misses, and misses {_objects(objects['first'])} that {first['name']} finds."
    )


def _objects(number: int) -> str:
    return "1 object" if number == 1 else f"{grouped(number)} objects"
