"""What boxes claim: of all claims those that are granted are the assignment."""

import pytest
import torch
from tests.detector.assigners.scenes import scene

from fcos_lightning.detector import Grid
from fcos_lightning.detector.assigners.atss import ATSSAssigner
from fcos_lightning.detector.assigners.claims import padded
from fcos_lightning.detector.assigners.fcos import FCOSAssigner
from fcos_lightning.detector.assigners.foveabox import FoveaBoxAssigner

GRID = Grid((8, 16, 32))
SIZE = (56, 72)


@pytest.mark.parametrize(
    "assigner",
    [FCOSAssigner(), FCOSAssigner(center_radius=None), FoveaBoxAssigner(), ATSSAssigner()],
    ids=["center", "whole box", "foveabox", "atss"],
)
def test_the_claims_that_are_granted_are_the_assignment(
    assigner: FCOSAssigner | FoveaBoxAssigner | ATSSAssigner,
) -> None:
    points = GRID(SIZE)
    ambiguous = 0
    for seed in range(20):
        targets = padded(scene(seed, SIZE))
        claims = assigner.claims(points, targets)
        found = claims.assignment(points, targets, claims.granted(len(points.xy)))
        wanted = assigner(points, targets)
        for name in ("labels", "matched", "claims"):
            assert torch.equal(getattr(found, name), getattr(wanted, name)), name
        assert torch.allclose(found.ltrb_px, wanted.ltrb_px)
        ambiguous += int((wanted.claims > 1).sum())
    assert ambiguous > 10
