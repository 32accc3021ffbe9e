"""From pixels to final boxes in one module: what a file for other programs holds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcos_lightning.detector import DenseDetector
from fcos_lightning.detector.grid import quotient_up
from fcos_lightning.inference.deployed.decoding import Found, check_decoder, decoded
from fcos_lightning.inference.deployed.suppression import Suppression, unsuppressed
from fcos_lightning.structures import Images


class Pipeline(nn.Module):
    """Normalises, pads, predicts, decodes: images of one size to boxes in their pixels.

    Args:
        detector: in evaluation mode.
        suppress: how NMS is done.

    Raises:
        UserError: if the detector's decoder is none of ours.
    """

    def __init__(self, detector: DenseDetector, suppress: Suppression = unsuppressed) -> None:
        super().__init__()
        check_decoder(detector)
        self.detector = detector
        self.suppress = suppress

    def forward(self, images: Tensor) -> Found:
        """Return what is found in uint8 RGB images ``[B, 3, H, W]``, best first.

        Returns:
            Boxes ``[B, K, 4]`` float32 xyxy in pixels, scores ``[B, K]`` and labels ``[B, K]``
            int64, of ``K`` detections, as many as the image with most has. Rows that an image has
            no detection for are zeros with label -1.
        """
        number, _, height, width = images.shape
        multiple, beyond = self.detector.size_multiple, int(self.detector.pad_beyond)
        padded = [quotient_up(side + beyond, multiple) * multiple for side in (height, width)]
        pixels = F.pad(images, (0, padded[1] - width, 0, padded[0] - height))
        size_hw = torch.stack(
            [
                torch.full((), side, dtype=torch.int64, device=images.device)
                for side in (height, width)
            ]
        )
        batch = Images(pixels, size_hw.expand(number, 2))
        points = self.detector.grid((padded[0], padded[1]))
        return decoded(self.detector.decoder, self.detector(batch), points, size_hw, self.suppress)
