"""Whether a run that was interrupted came to what one came to that was left alone, bit for bit."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch


def differences(whole: Path, cut: Path) -> list[str]:
    """Name what of a run is not what it is in one that was left alone, bit for bit."""
    found = []
    for name in ("last", "best"):
        one, other = (_read(run / f"checkpoints/{name}.ckpt") for run in (whole, cut))
        keys = ["state_dict", "global_step", "epoch", "current_model_state", "averaging_state"]
        keys += ["optimizer_states", "lr_schedulers"]
        keys += ["fcos_logged"] if name == "last" else []
        found += [f"{name}: {key}" for key in keys if not same(one.get(key), other.get(key))]
    if rows(whole) != rows(cut):
        found.append(f"metrics.csv: {rows(whole)} {rows(cut)}")
    for name in ("metrics.json", "predictions.json"):
        if (whole / name).read_bytes() != (cut / name).read_bytes():
            found.append(name)
    pictures = [
        {p.name: p.read_bytes() for p in (run / "previews").iterdir()} for run in (whole, cut)
    ]
    if pictures[0] != pictures[1]:
        found.append("previews")
    # TensorBoard begins a file with each start; what it shows is compared in tests/cli.
    files = [
        sorted(p.name for p in run.rglob("*") if "tfevents" not in p.name) for run in (whole, cut)
    ]
    if files[0] != files[1]:
        found.append(f"files: {files}")
    return found


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(file, weights_only=True)
    return content


def same(one: object, other: object) -> bool:
    """Compare two trees of plain values and tensors."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and set(one) == set(other)
            and all(same(one[key], other[key]) for key in one)
        )
    if isinstance(one, list | tuple):
        return (
            isinstance(other, list | tuple)
            and len(one) == len(other)
            and all(map(same, one, other))
        )
    return bool(one == other)


def rows(run: Path) -> list[tuple[str, ...]]:
    """What the log says of each step, but for the times."""
    with (run / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    return [
        tuple(value for key, value in row.items() if not key.startswith("speed/")) for row in table
    ]
