import pytest
import torch
from torchvision.ops import batched_nms

from fcos_lightning import build_fcos
from fcos_lightning.detector import FCOS
from fcos_lightning.detector.parts import Decoder
from fcos_lightning.errors import UserError
from fcos_lightning.inference.views import detect_merged
from fcos_lightning.structures import Detections, Images


@pytest.fixture(scope="module")
def detector() -> FCOS:
    torch.manual_seed(1)
    made = build_fcos(
        num_classes=3,
        backbone={"name": "resnet18"},
        fpn={"channels": 32, "levels": [3, 4, 5]},
        head={"num_convs": 1, "prior": 0.3, "fast_start": True},
        decoder={"score_threshold": 0.05, "max_detections": 40},
    )
    return made.eval()


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 255, (3, height, width), dtype=torch.uint8, generator=generator)


def test_one_view_is_an_ordinary_detection(detector: FCOS) -> None:
    image = picture(90, 70)
    (alone,) = detector.detect([image])
    merged = detect_merged(detector, [Images.pad([image], 32)], torch.tensor([90, 70]), flip=False)
    assert len(alone.scores) > 5
    assert torch.equal(merged.boxes_xyxy, alone.boxes_xyxy)
    assert torch.equal(merged.scores, alone.scores) and torch.equal(merged.labels, alone.labels)


def test_a_mirrored_view_gives_the_boxes_of_the_mirrored_image_in_place(detector: FCOS) -> None:
    """The candidates of both, mapped back by hand, through one NMS."""
    image, size = picture(64, 70), torch.tensor([64, 70])
    every = build_fcos(**{**detector.spec, "decoder": {"nms_iou": 1.0, "max_detections": 10**6}})
    every.load_state_dict(detector.state_dict())
    (plain,), (mirror,) = every.eval().detect([image]), every.detect([image.flip(-1)])
    left, top, right, bottom = mirror.boxes_xyxy.unbind(1)
    boxes = torch.cat([plain.boxes_xyxy, torch.stack([70 - right, top, 70 - left, bottom], 1)])
    scores = torch.cat([plain.scores, mirror.scores])
    labels = torch.cat([plain.labels, mirror.labels])
    keep = batched_nms(boxes, scores, labels, 0.6)[:40]
    merged = detect_merged(detector, [Images.pad([image], 32)], size, flip=True)
    assert torch.allclose(merged.scores, scores[keep])
    assert torch.allclose(merged.boxes_xyxy, boxes[keep], atol=1e-4)


def test_boxes_of_every_size_come_in_the_frame_of_the_file(detector: FCOS) -> None:
    views = [Images.pad([picture(64, 64)], 32), Images.pad([picture(128, 128, 1)], 32)]
    merged = detect_merged(detector, views, torch.tensor([256, 512]), flip=True)
    assert merged.boxes_xyxy[:, 2].max() > 256 and merged.boxes_xyxy[:, 2].max() <= 512
    assert merged.boxes_xyxy[:, 3].max() <= 256 and len(merged.scores) <= 40


class Silent(Decoder):
    """Somebody's own, which says nothing of its candidates."""

    def __call__(self, *arguments: object) -> list[Detections]:
        return []


def test_a_decoder_that_keeps_its_candidates_to_itself_is_refused() -> None:
    other = build_fcos(num_classes=2, backbone={"name": "resnet18"}, decoder=Silent())
    with pytest.raises(UserError, match=r"test\.tta: Silent cannot merge"):
        detect_merged(other, [Images.pad([picture(64, 64)], 32)], torch.tensor([64, 64]))
