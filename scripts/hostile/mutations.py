"""Checkpoints of ours with something wrong in them: in their tree, their bytes, their header."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save

from fcos_lightning import build_fcos
from fcos_lightning.checkpoints import describe
from fcos_lightning.detector import FCOS

#: A detector so small that hundreds can be made in a second or two.
OPTIONS: dict[str, Any] = {
    "backbone": {
        "name": "tiny",
        "frozen_stages": 0,
        "norm": "trained",
        "widths": [4, 8, 8, 8],
        "depths": [1, 1, 1, 1],
    },
    "fpn": {"channels": 8, "levels": [3, 4, 5]},
    "head": {"num_convs": 1, "norm": "none"},
    "assigner": {"size_ranges": [[-1, 32], [32, 64], [64, float("inf")]]},
}

#: What is put in the place of anything.
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2, 1.5, float("nan"), float("inf"), 1e308),
    *(10**6, 10**9, 2**31, 2**63, 10**30, 10**5000),
    *("", "a", "x" * 10_000, "\ud800", "\x1b[2J", "a\nb", "../../etc/passwd", "${oc.env:HOME}"),
    *("imagenet", "resnet50", "timm/resnet18", "timm/hf_hub:some/model", "coco", "shapes"),
    *([], {}, [1], [1, 2, 3], [[1]], {"a": 1}, {1: 2}, (1,), b"x", [float("nan")] * 3),
    *([10**9] * 4, ["a", "b"], ["a", "a"], [None, None], {"_target_": "os.system"}, {1, 2}),
    *(torch.zeros(1), torch.zeros(0), torch.zeros(1).expand(10**12), torch.zeros(2).double()),
    *(torch.zeros(2, dtype=torch.complex64), torch.zeros(2, 2).to_sparse()),
    torch.zeros(3).bool(),
)

Path = tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        what: kind of mutation.
        suffix: of the file's name.
        content: of the file.
    """

    what: str
    suffix: str
    content: bytes


class Mutations:
    """Makes cases by their numbers: the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.detector: FCOS = build_fcos(class_names=["a", "b"], category_ids=[1, 2], **OPTIONS)
        self._tree = self._whole()
        self._files = {
            ".ckpt": saved(self._tree),
            ".pth": saved(self._tree, zipped=False),
            ".safetensors": self._plain(self._tree),
        }

    def case(self, number: int) -> Case:
        """Return a case; number 0 to 2 are the files without a mutation."""
        if number < len(self._files):
            suffix = [*self._files][number]
            return Case("none", suffix, self._files[suffix])
        rng = random.Random(self._seed * 1_000_003 + number)
        kind = rng.choices((self._of_bytes, self._of_header, self._of_tree), weights=(30, 10, 60))[
            0
        ]
        return kind(rng)

    def _whole(self) -> dict[str, Any]:
        """What a run of this detector writes, but for the optimiser's state."""
        data = {"root": None, "batch_size": 4, "train_split": "train", "strict": False}
        state = {f"detector.{k}": v for k, v in self.detector.state_dict().items()}
        return {
            "epoch": 1,
            "global_step": 20,
            "pytorch-lightning_version": "2.6.6",
            "state_dict": state,
            "loops": {"fit_loop": {"epoch_progress": {"total": {"ready": 2}}}},
            "optimizer_states": [],
            "lr_schedulers": [],
            "callbacks": {},
            "fcos_logged": {"csv_rows": 3, "steps": 20},
            "fcos": describe(
                self.detector,
                version="0.1.0",
                name="fcos",
                data_choice="shapes",
                data=data,
                shorter_side=64,
                longer_side=64,
                channels_last=True,
            ),
        }

    def _plain(self, tree: dict[str, Any]) -> bytes:
        weights = {
            key.removeprefix("detector."): value.contiguous()
            for key, value in tree["state_dict"].items()
        }
        return save(weights, {"fcos": json.dumps(tree["fcos"])})

    def _of_bytes(self, rng: random.Random) -> Case:
        suffix, whole = rng.choice([*self._files.items()])
        content = bytearray(whole)
        what = rng.choice(("bits", "cut", "inserted", "in the head"))
        if what == "bits":
            for _ in range(rng.choice((1, 2, 8, 40))):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        elif what == "cut":
            del content[rng.choice((0, 1, 8, 64, rng.randrange(len(content)))) :]
        elif what == "inserted":
            at = rng.randrange(len(content))
            content[at:at] = rng.randbytes(rng.choice((1, 100)))
        else:
            content[rng.randrange(3000)] = rng.randrange(256)
        return Case(what, suffix, bytes(content))

    def _of_header(self, rng: random.Random) -> Case:
        whole = self._files[".safetensors"]
        (length,) = struct.unpack("<Q", whole[:8])
        header = json.loads(whole[8 : 8 + length])
        key = rng.choice([key for key in header if key != "__metadata__"])
        header[key][rng.choice(("dtype", "shape", "data_offsets"))] = rng.choice(
            ("F32", "F4", "I64", "x", None, [10**12], [2**62, 4], [-1], [1.5], [], 2**64)
        )
        said: tuple[str, ...] = (
            "{}",
            "[]",
            "1",
            "{",
            "NaN",
            '{"format": 1}',
            '{"format": 1, "spec": null}',
        )
        said += ("[" * 100_000, "9" * 5000, '{"format": 1, "spec": {"num_classes": 2}}')
        if rng.random() < 0.5:
            header["__metadata__"] = rng.choice(
                [None, {}, {"fcos": 5}, *({"fcos": s} for s in said)]
            )
            header[key] = json.loads(whole[8 : 8 + length])[key]
        text = json.dumps(header).encode()
        length_said = rng.choice((len(text), len(text), len(text), 0, 10**9, 2**63))
        content = struct.pack("<Q", length_said) + text + whole[8 + length :]
        return Case("header", ".safetensors", content)

    def _of_tree(self, rng: random.Random) -> Case:
        tree = copy.deepcopy(self._tree)
        for _ in range(rng.choice((1, 1, 2, 3))):
            top = rng.choices((None, "fcos", "state_dict"), weights=(20, 60, 20))[0]
            change(tree, top, rng, ("extra", 5, "\ud800", "k" * 5000))
        if rng.random() < 0.1:
            others: tuple[Any, ...] = ([], 1, "x", None, {}, {"state_dict": tree}, {"model": tree})
            tree = rng.choice(others)
        if rng.random() < 0.2:
            try:
                return Case("plain tree", ".safetensors", self._plain(tree))
            except (AttributeError, KeyError, TypeError, ValueError, RuntimeError):
                pass  # the format has no way to say this
        suffix = rng.choice((".ckpt", ".ckpt", ".pth", ""))
        return Case("tree", suffix, saved(tree, zipped=rng.random() < 0.8))


def change(tree: Any, top: str | None, rng: random.Random, keys: Sequence[Any]) -> None:  # noqa: ANN401
    """Put something wrong into a tree: a value, a key, or nothing where something was.

    Args:
        tree: changed in place.
        top: below which key; None: anywhere.
        rng: chooses.
        keys: that may be added.
    """
    places = [*_places(tree)]
    at = rng.choice([place for place in places if top in (None, place[0])] or places)
    parent = _at(tree, at[:-1])
    choice = rng.random()
    if choice < 0.15:
        del parent[at[-1]]
    elif choice < 0.25 and isinstance(parent, dict):
        parent[rng.choice(keys)] = rng.choice(VALUES)
    else:
        parent[at[-1]] = rng.choice(VALUES)


def saved(tree: object, zipped: bool = True) -> bytes:
    """Return what ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(tree, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _places(tree: object, at: Path = ()) -> Iterator[Path]:
    if at:
        yield at
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _places(value, (*at, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _places(value, (*at, index))


def _at(tree: Any, path: Path) -> Any:  # noqa: ANN401
    for key in path:
        tree = tree[key]
    return tree
