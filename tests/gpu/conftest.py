"""Proofs on a GPU: marked ``gpu``, run by ``make test-gpu``, and failing where there is none."""

from __future__ import annotations

import os

import pytest
import torch
from tests.cli.conftest import cache_folder as cache_folder
from tests.cli.conftest import command as command


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The first GPU; FCOS_TEST_DEVICE=cpu tries the tests themselves where there is none."""
    name = os.environ.get("FCOS_TEST_DEVICE", "cuda:0")
    if name.startswith("cuda") and not torch.cuda.is_available():
        pytest.fail("these tests need a GPU that torch can use: torch.cuda.is_available() is false")
    return torch.device(name)
