"""Published checkpoints by name, as ``official/FCOS_imprv_R_50_FPN_1x``.

Names are those their authors gave the files. Where a source puts digits of the file's SHA-256 into
its name (OpenMMLab and torchvision: the first eight), they are checked.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from fcos_lightning.errors import UserError

#: Where each source keeps its files.
PLACES = {
    "official": "https://huggingface.co/tianzhi/FCOS/resolve/main",
    "adelaidet": "https://huggingface.co/tianzhi/AdelaiDet-FCOS/resolve/main",
    "mmdet": "https://download.openmmlab.com/mmdetection/v2.0/fcos",
    "torchvision": "https://download.pytorch.org/models",
}

_OFFICIAL = (
    "FCOS_R_50_FPN_1x",
    "FCOS_imprv_R_50_FPN_1x",
    "FCOS_imprv_dcnv2_R_50_FPN_1x",
    "FCOS_R_101_FPN_2x",
    "FCOS_imprv_R_101_FPN_2x",
    "FCOS_imprv_dcnv2_R_101_FPN_2x",
    "FCOS_X_101_32x8d_FPN_2x",
    "FCOS_imprv_X_101_32x8d_FPN_2x",
    "FCOS_imprv_dcnv2_X_101_32x8d_FPN_2x",
    "FCOS_X_101_64x4d_FPN_2x",
    "FCOS_imprv_X_101_64x4d_FPN_2x",
    "FCOS_imprv_dcnv2_X_101_64x4d_FPN_2x",
    "FCOS_syncbn_bs32_c128_MNV2_FPN_1x",
    "FCOS_syncbn_bs32_MNV2_FPN_1x",
    "FCOS_bn_bs16_MNV2_FPN_1x",
)
_ADELAIDET = (
    "FCOS_R_50_1x",
    "FCOS_MS_R_50_2x",
    "FCOS_MS_R_101_2x",
    "FCOS_MS_X_101_32x8d_2x",
    "FCOS_MS_X_101_64x4d_2x",
    "FCOS_MS_X_101_32x8d_dcnv2_2x",
    "FCOS_RT_MS_DLA_34_4x_shtw",
    "FCOS_RT_MS_DLA_34_4x",
    "FCOS_RT_MS_R_50_4x",
    "FCOS_RT_MS_DLA_34_4x_shtw_bn",
    "FCOS_RT_MS_DLA_34_4x_bn",
    "FCOS_RT_MS_R_50_4x_bn",
)
#: From configs/fcos/README.md of mmdetection: the name, then digits of the checksum.
_MMDET = {
    "fcos_r50_caffe_fpn_gn-head_1x_coco": "821213aa",
    "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_1x_coco": "0a0d75a8",
    "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_dcn_1x_coco": "ae4d8b3d",
    "fcos_r101_caffe_fpn_gn-head_1x_coco": "0e37b982",
    "fcos_r50_caffe_fpn_gn-head_mstrain_640-800_2x_coco": "d92ceeea",
    "fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco": "511424d6",
    "fcos_x101_64x4d_fpn_gn-head_mstrain_640-800_2x_coco": "ede514a8",
}
#: From torchvision/models/detection: the name, digits of the checksum, and the layout's recipe.
_TORCHVISION = {
    "fcos_resnet50_fpn_coco": ("99b0c9b7", None),
    "retinanet_resnet50_fpn_coco": ("eeacb38b", "published"),
    "retinanet_resnet50_fpn_v2_coco": ("5905b1c5", None),
}


@dataclass(frozen=True)
class Published:
    """A file that its authors publish.

    Attributes:
        source: the project, a key of ``PLACES``.
        path: below its source's place.
        sha256: its first digits, or None where the source gives none.
        recipe: to read it with, where no tensor but its name tells; None: its layout's default.
    """

    source: str
    path: str
    sha256: str | None = None
    recipe: str | None = None

    @property
    def url(self) -> str:
        """Where it is fetched from."""
        return f"{PLACES[self.source]}/{self.path}"


PUBLISHED: dict[str, Published] = {
    **{
        f"official/{name}": Published(
            "official", f"{name}.pth", recipe="improved" if "_imprv_" in name else "plain"
        )
        for name in _OFFICIAL
    },
    **{f"adelaidet/{name}": Published("adelaidet", f"{name}.pth") for name in _ADELAIDET},
    **{
        f"mmdet/{name}": Published("mmdet", f"{name}/{name}-{digits}.pth", digits)
        for name, digits in _MMDET.items()
    },
    **{
        f"torchvision/{name}": Published("torchvision", f"{name}-{digits}.pth", digits, recipe)
        for name, (digits, recipe) in _TORCHVISION.items()
    },
}


def checkpoint_file(given: str | Path) -> Path:
    """Return the file that a user means: a path, or a published checkpoint, fetched once.

    A file of that name always comes first.

    Raises:
        UserError: if a name is unknown, or its file can neither be found nor fetched.
    """
    given = str(given)
    path = Path(os.path.expanduser(given))
    source = given.split("/", 1)[0]
    if path.exists() or source not in PLACES or "/" not in given:
        return path
    published = PUBLISHED.get(given)
    if published is None:
        near = difflib.get_close_matches(given, PUBLISHED, n=3, cutoff=0.3)
        raise UserError(
            f"{given}: {source} publishes no such checkpoint; there are",
            choices=near or [name for name in PUBLISHED if name.startswith(source)],
        )
    from fcos_lightning.storage.caches import cache_folder

    # Rather than torch.hub's function: this one goes on after a cut connection, in a later call
    # too, tries again, and looks for room on the disk first.
    from fcos_lightning.storage.download import fetch

    target = cache_folder() / "checkpoints" / source / Path(published.path).name
    try:
        return fetch(published.url, target, sha256=published.sha256)
    except UserError as error:
        said = str(error)
        file = "that file" if published.url in said else f"the file of {published.url}"
        raise UserError(
            f"{given}: {said}; or put {file} at {target}", whole=(published.url, str(target))
        ) from error


def recipe_for(given: str | Path, chosen: str | None) -> str | None:
    """Return the recipe to read a checkpoint with: the user's, else what a published name says."""
    published = PUBLISHED.get(str(given))
    return chosen if chosen is not None or published is None else published.recipe
