"""A threshold for each class, as the predictor takes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.inference.scenes import NAMES

from fcos_lightning import Predictor
from fcos_lightning.errors import UserError


@pytest.fixture(scope="module")
def everything(checkpoint: Path) -> Predictor:
    return Predictor.load(checkpoint, device="cpu")


def test_each_class_is_cut_at_its_own(
    checkpoint: Path, everything: Predictor, photos: list[Path], tmp_path: Path
) -> None:
    found = everything(photos[0])
    first, second = NAMES[:2]
    # A score that some have exactly: they stay.
    least = found.scores[found.labels == 0].median()
    kept = (found.labels != 0) | (found.scores >= least)
    assert 0 < kept.sum() < len(kept)
    ours = Predictor.load(checkpoint, device="cpu", thresholds={first: float(least)})
    assert torch.equal(ours(photos[0]).scores, found.scores[kept])
    assert ours(photos[0]).class_names == found.class_names

    file = tmp_path / "thresholds.json"
    content = {"overall": 0.0, "per_class": {first: float(least), second: None}}
    file.write_text(json.dumps(content))
    for given in (file, str(file)):
        ours = Predictor.load(checkpoint, device="cpu", thresholds=given)
        assert torch.equal(ours(photos[0]).boxes_xyxy, found.boxes_xyxy[kept])

    # Classes that a mapping does not name have the score threshold.
    ours = Predictor.load(checkpoint, device="cpu", thresholds={first: 0.0}, score_threshold=1.0)
    assert set(ours(photos[0]).labels.tolist()) == {0}


def test_what_does_not_fit_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    file = tmp_path / "thresholds.json"
    file.write_text('{"overall": 0.5}')
    for options, said in (
        ({"thresholds": {"horse": 0.5}}, "no class 'horse' in the checkpoint, which has"),
        ({"thresholds": {NAMES[0]: 2}}, "is 2; give 0 to 1"),
        ({"thresholds": file, "score_threshold": 0.2}, "give one of the two"),
        ({"thresholds": tmp_path / "none.json"}, "cannot be read"),
    ):
        with pytest.raises(UserError, match=said):
            Predictor.load(checkpoint, device="cpu", **options)
