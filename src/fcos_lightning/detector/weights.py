"""Weights from files, without running anything that a file may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
import torchvision
from torch import Tensor, nn

from fcos_lightning.errors import UserError

#: What ``weights: imagenet`` means: the weights detection baselines start from.
_IMAGENET = "IMAGENET1K_V1"


def read_plain(path: Path, kind: str) -> Any:  # noqa: ANN401  # plain data of any form
    """Read a file of tensors and plain data.

    Args:
        path: of the file.
        kind: what the file should be, for messages.

    Raises:
        UserError: if there is no such file, or it holds more than plain data.
    """
    if not path.is_file():
        raise UserError(f"{kind} {path}: no such file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, pickle's own among them
        raise UserError(
            f"{kind} {path}: not a readable file of plain data; nothing in it was run "
            f"({type(error).__name__})"
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict.

    Raises:
        UserError: if there is no such file or it holds anything but named tensors.
    """
    state = read_plain(path, "weights")
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise UserError(
            f"weights {path}: expected a state dict, names and tensors, at the top level"
        )
    return cast("dict[str, Tensor]", state)


def fill_classifier(net: nn.Module, name: str, weights: str | None) -> None:
    """Fill a torchvision classifier; its last layer, which no detector uses, may be missing.

    Args:
        net: to be filled.
        name: of the net among ``torchvision.models``.
        weights: ``imagenet`` downloads torchvision's, a path loads a file, None changes nothing.

    Raises:
        UserError: if the weights cannot be had or do not fit.
    """
    if weights is None:
        return
    if weights == "imagenet":
        try:
            state = torchvision.models.get_model_weights(name)[_IMAGENET].get_state_dict(
                progress=True, check_hash=True
            )
        except (OSError, RuntimeError) as error:  # torch.hub: RuntimeError for a wrong hash
            raise UserError(
                f"model.backbone.weights=imagenet: the weights of {name} could not be downloaded "
                f"({error}); give the path of a file, or null to start fresh"
            ) from error
    else:
        state = read_weights(Path(weights))
    classifier = ("fc.", "classifier.", "features.18.")
    own = net.state_dict()
    own_keys = {key for key in own if not key.startswith(classifier)}
    given = {
        key: value
        for key, value in state.items()
        # BatchNorm's counter of batches means nothing to a frozen one.
        if not key.startswith(classifier) and not key.endswith("num_batches_tracked")
    }
    needed = {key for key in own_keys if not key.endswith("num_batches_tracked")}
    missing, unexpected = sorted(needed - set(given)), sorted(set(given) - needed)
    wrong = sorted(k for k in needed & set(given) if given[k].shape != own[k].shape)
    if missing or unexpected or wrong:
        problems = [
            f"{len(keys)} {what} (first: {keys[0]})"
            for what, keys in (
                ("missing", missing),
                ("unknown", unexpected),
                ("of other shape", wrong),
            )
            if keys
        ]
        raise UserError(
            f"model.backbone.weights={weights}: not weights of torchvision's {name}; "
            f"keys {', '.join(problems)}"
        )
    net.load_state_dict(given, strict=False)
