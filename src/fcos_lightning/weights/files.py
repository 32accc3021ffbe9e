"""Weights from files, without running anything that a file may hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torchvision
from torch import Tensor, nn

from fcos_lightning.errors import UserError, shown
from fcos_lightning.weights.caffe_names import torchvision_names
from fcos_lightning.weights.reading import read_file, tensor_of
from fcos_lightning.weights.timm_names import from_timm
from fcos_lightning.weights.timm_published import is_published, published_weights

#: What ``weights: imagenet`` means: the weights detection baselines start from.
_IMAGENET = "IMAGENET1K_V1"

#: Levels around the weights, from the outside in, and prefixes that wrappers put before keys.
_LEVELS = ("model", "state_dict", "model_state_dict", "model_state", "blobs", "net", "weights")
_PREFIXES = ("module.", "_orig_mod.")
#: How often the prefixes may stand before one key.
_MOST_WRAPPERS = 8


def weights_in(content: object) -> dict[str, Tensor]:
    """Return the named tensors of a file, without the levels and prefixes around them.

    Numpy arrays become tensors; what is neither is left out (counters, authors, matching rules).
    """
    while isinstance(content, Mapping):
        inner = next((content[k] for k in _LEVELS if isinstance(content.get(k), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        return {}
    found = ((key, tensor_of(value)) for key, value in content.items())
    weights = {k: value for k, value in found if isinstance(k, str) and value is not None}
    for _ in range(_MOST_WRAPPERS):
        prefix = next((p for p in _PREFIXES if all(k.startswith(p) for k in weights)), None)
        if prefix is None or not weights:
            break
        weights = {key[len(prefix) :]: value for key, value in weights.items()}
    return weights


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read named tensors, without the levels around them.

    Raises:
        UserError: if there is no such file or it holds no named tensors.
    """
    content = read_file(path, "weights")
    state = weights_in(content)
    if not state and content != {}:
        raise UserError(
            f"weights {path}: expected a state dict, names and tensors, at the top level"
        )
    return state


def fill_classifier(net: nn.Module, name: str, weights: str | None) -> None:
    """Fill a torchvision classifier; its last layer, which no detector uses, may be missing.

    Args:
        net: to be filled.
        name: of the net among ``torchvision.models``.
        weights: ``imagenet`` downloads torchvision's, ``timm`` better ones that timm publishes and
            ``timm/TAG`` any of them, a path loads a file in torchvision's layout or, of residual
            nets, in Caffe2's or detectron2's, None changes nothing.

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
    elif is_published(weights) and not Path(weights).exists():
        state = published_weights(name, weights)
    else:
        state = from_timm(torchvision_names(read_weights(Path(weights))))
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
            f"{len(keys)} {what} (first: {shown(keys[0])[1:-1]})"
            for what, keys in (
                ("missing", missing),
                ("unknown", unexpected),
                ("of other shape", wrong),
            )
            if keys
        ]
        raise UserError(
            f"model.backbone.weights={weights}: not weights of torchvision's {name}; "
            f"expected a state dict of such a net, but keys {', '.join(problems)}"
        )
    net.load_state_dict(given, strict=False)
