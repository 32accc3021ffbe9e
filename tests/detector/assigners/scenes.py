"""Boxes of random scenes, for mappings that are held against a plain loop."""

import torch

from fcos_lightning import Target


def scene(seed: int, size_hw: tuple[int, int], most: int = 9) -> list[Target]:
    """Two images: crowded, ordinary or empty; boxes that stick out, and at times one of no size."""
    generator = torch.Generator().manual_seed(seed)
    frame = torch.tensor([float(size_hw[1]), float(size_hw[0])])
    targets = []
    for image in range(2):
        number = int(torch.randint(0, most, (1,), generator=generator))
        sides = torch.exp(torch.rand(number, 2, generator=generator) * 3) * 4
        start = torch.rand(number, 2, generator=generator) * frame - 4
        boxes = torch.cat([start, start + sides], dim=1)
        if number > 2 and seed % 5 == image:
            boxes[0, 2:] = boxes[0, :2]  # a point
            boxes[1, 3] = boxes[1, 1]  # a line
        if number > 3:
            boxes[2] = boxes[3]  # two in one place
        targets.append(Target(boxes, torch.randint(0, 4, (number,), generator=generator)))
    return targets
