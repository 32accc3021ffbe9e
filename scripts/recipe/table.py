"""The results as a table in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recipe.jobs import LONG, METHODS, PEER, RECIPE, Plan, Setting

Row = tuple[str, str]  # method, how it was set


def table(plan: Plan, results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table: AP of the best epoch, and of the last one, on every set.

    Args:
        plan: of the jobs.
        results: by their names.
    """
    names = [place.name for place in plan.places]
    parts = ["# Recipes\n"]
    for title, figure in (("the best epoch", _best), ("the last epoch", _last)):
        parts.append(f"\nAP of {title}: mean, standard deviation, number of seeds.\n\n")
        parts.append(_block(names, _rows(results, figure, names)))
    parts.append(_long(results, names))
    parts.append(_searches(results))
    parts.append(_starts(results))
    parts.append(_curve(results))
    hours = sum(float(one.get("minutes", 0)) for one in results.values()) / 60
    parts.append(f"\n{len(results)} jobs, {hours:.1f} hours of a processor.\n")
    return "".join(parts)


def _best(result: Mapping[str, Any]) -> float:
    return float(result["AP"] or 0.0)


def _last(result: Mapping[str, Any]) -> float:
    return float(result["course"][-1])


def _rows(
    results: Mapping[str, Mapping[str, Any]],
    figure: Callable[[Mapping[str, Any]], float],
    names: Sequence[str],
    extras: Sequence[str] = ("",),
) -> dict[Row, dict[str, list[float]]]:
    rows: dict[Row, dict[str, list[float]]] = {}
    for one in results.values():
        extra = one.get("extra", "")
        if "course" not in one or extra not in extras or one["set"] not in names:
            continue
        how = extra.replace("_", " ")
        if one["method"] != PEER and not extra:
            same = (one["lr"], one["batch"]) == (Setting().lr, Setting().batch)
            how = "as it is" if same else f"lr {one['lr']:.2g}, batches of {one['batch']}"
        rows.setdefault((one["method"], how), {}).setdefault(one["set"], []).append(figure(one))
    order = [PEER, *METHODS]
    return dict(sorted(rows.items(), key=lambda row: (order.index(row[0][0]), row[0][1])))


def _long(results: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> str:
    if not any(one.get("extra") in LONG for one in results.values()):
        return ""
    rows = _rows(results, _best, names, ("", *LONG))
    kept = {row: sets for row, sets in rows.items() if row[0] in (PEER, RECIPE)}
    return "".join(("\nLonger runs, AP of the best epoch.\n\n", _block(names, kept)))


def _block(names: Sequence[str], rows: Mapping[Row, Mapping[str, Sequence[float]]]) -> str:
    bar = _mean(rows.get((PEER, ""), {}), names)
    lines = [
        f"| method | setting | {' | '.join(names)} | mean | ahead of torchvision |\n",
        f"|{'---|' * (len(names) + 4)}\n",
    ]
    for (method, how), sets in rows.items():
        cells = [_cell(sets.get(name, ())) for name in names]
        mean = _mean(sets, names)
        shown = "" if mean is None else f"{mean:.3f}"
        ahead = "" if mean is None or bar is None or method == PEER else f"{mean - bar:+.3f}"
        lines.append(f"| {' | '.join((method, how, *cells, shown, ahead))} |\n")
    return "".join(lines)


def _mean(sets: Mapping[str, Sequence[float]], names: Sequence[str]) -> float | None:
    """Return the mean over sets of the mean over seeds; None while a set is missing."""
    if any(name not in sets for name in names):
        return None
    return statistics.fmean(statistics.fmean(sets[name]) for name in names)


def _cell(found: Sequence[float]) -> str:
    if not found:
        return ""
    if len(found) == 1:
        return f"{found[0]:.3f} (1)"
    return f"{statistics.fmean(found):.3f} ±{statistics.stdev(found):.3f} ({len(found)})"


def _searches(results: Mapping[str, Mapping[str, Any]]) -> str:
    found = {name: one for name, one in results.items() if "trials" in one and one["AP"] >= 0}
    if not found:
        return ""
    lines = [
        "\nSearches: AP of the best trial, and of the setting as it is on the same images.\n\n",
        "| method | as it is | best trial | lr for 4 images | batch | trials done, pruned |\n",
        "|---|---|---|---|---|---|\n",
    ]
    for one in found.values():
        before = results.get(_as_it_is(one), {}).get("AP")
        shown = "" if before is None else f"{before:.3f}"
        states = [trial["state"] for trial in one["trials"]]
        counts = f"{states.count('done')}, {states.count('pruned')}"
        lines.append(
            f"| {one['method']} | {shown} | {one['AP']:.3f} | {one['lr']:.2g} | {one['batch']} "
            f"| {counts} |\n"
        )
    return "".join(lines)


def _as_it_is(search: Mapping[str, Any]) -> str:
    setting = Setting()
    return f"{search['set']}-{search['method']}-lr{setting.lr:g}-b{setting.batch}-seed0"


def _starts(results: Mapping[str, Mapping[str, Any]]) -> str:
    found: dict[str, list[float]] = {}
    for one in results.values():
        if one.get("extra") and one["extra"] not in LONG and one["set"] == "cells":
            found.setdefault(str(one["extra"]), []).append(_best(one))
    if not found:
        return ""
    rows = [f"| {start} | {_cell(aps)} |\n" for start, aps in sorted(found.items())]
    return "".join(("\nFrom 50 images of cells.\n\n| start | AP |\n|---|---|\n", *rows))


def _curve(results: Mapping[str, Mapping[str, Any]]) -> str:
    shares: Mapping[str, Sequence[float]] = next(
        (one["by_share"] for one in results.values() if "by_share" in one), {}
    )
    if not shares:
        return ""
    rows = [f"| {float(share):.0%} | {_cell(aps)} |\n" for share, aps in shares.items()]
    return "".join(("\nShares of the images of cells.\n\n| share | AP |\n|---|---|\n", *rows))
