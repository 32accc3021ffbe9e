from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.evaluation.scenes import ground_truth, perfect, random_scene, table

from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.evaluation.matches import matched
from fcos_lightning.inference.pictures.fonts import spelt_for_dejavu
from fcos_lightning.structures import GroundTruth
from fcos_lightning.training.callbacks.figures import Evaluation
from fcos_lightning.training.callbacks.precision_recall import PrecisionRecall, drawn_curves


class Pictures:
    def __init__(self) -> None:
        self.taken: list[str] = []

    def log_image(self, key: str, images: list[Image.Image], step: int) -> None:
        assert images[0].size[0] > 300 and step == 5
        self.taken.append(key)


def validated(truth: GroundTruth, found: DetectionTable, *loggers: object, **more: Any) -> None:
    evaluation = Evaluation(truth)
    evaluation.metric._table = found
    evaluation.summary = more.pop("summary", {})
    state = {"is_global_zero": True, "sanity_checking": False, "global_step": 5, **more}
    trainer: Any = SimpleNamespace(callbacks=[evaluation], loggers=list(loggers), **state)
    PrecisionRecall().on_validation_end(trainer, None)  # type: ignore[arg-type]


def test_tensorboard_gets_the_curve_over_thresholds(tmp_path: Path) -> None:
    truth = ground_truth({1: [([0.0, 0.0, 10.0, 10.0], 0)], 2: [([0.0, 0.0, 10.0, 10.0], 0)]})
    found = table([(1, [0.0, 0.0, 10.0, 10.0], 0.9, 0), (2, [50.0, 50.0, 60.0, 60.0], 0.4, 0)])
    board = TensorBoardLogger(tmp_path)
    validated(truth, found, board)
    board.finalize("success")
    events = EventAccumulator(board.log_dir, {"tensors": 0})
    events.Reload()
    (event,) = events.Tensors("val/precision_recall")
    from tensorboard.util import tensor_util

    rows = tensor_util.make_ndarray(event.tensor_proto)
    right, wrong, _, missed, precision, recall = rows[:, [0, 60, 120]]  # at 0, .48 and .95
    assert (right.tolist(), wrong.tolist(), missed.tolist()) == ([1, 1, 0], [1, 0, 0], [1, 1, 2])
    assert precision.tolist() == [0.5, 1.0, 1.0] and recall.tolist() == [0.5, 0.5, 0.0]


def test_the_picture_shows_all_recalls_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Any] = []
    make = Figure.subplots

    def kept(figure: Figure) -> Any:  # matplotlib's axes
        drawn.append(make(figure))
        return drawn[-1]

    monkeypatch.setattr(Figure, "subplots", kept)
    truth, found = random_scene(0)
    drawn_curves(matched(truth, found))
    (axes,) = drawn
    assert axes.get_xlim() == (0, 1) and axes.get_ylim()[0] == 0 < 1 <= axes.get_ylim()[1] < 1.1
    for line in axes.lines:
        assert line.get_xdata().min() == 0 and line.get_xdata().max() == 1


def test_others_get_a_picture_of_it() -> None:
    truth, found = random_scene(0)
    pictures = Pictures()
    validated(truth, found, object(), pictures)
    assert pictures.taken == ["precision_recall"]


@pytest.mark.parametrize(
    "more",
    [
        {"summary": {"images_seen": 3, "images": 6}},
        {"is_global_zero": False},
        {"sanity_checking": True},
    ],
)
def test_nothing_is_shown_where_there_is_no_curve(more: dict[str, Any]) -> None:
    pictures = Pictures()
    truth, found = random_scene(0)
    validated(truth, found, pictures, **more)
    validated(ground_truth({1: []}), table([]), pictures)
    assert pictures.taken == []


def test_names_are_no_formulas() -> None:
    names = ("$\\frac{", "_hidden", "a" * 300)
    truth = ground_truth(
        {1: [([0.0, 0.0, 10.0, 10.0], label) for label in range(3)]}, class_names=names
    )
    assert drawn_curves(matched(truth, perfect(truth))).mode == "RGB"


@pytest.mark.filterwarnings("error")
def test_a_name_that_the_font_lacks_is_spelt_out() -> None:
    names = ("狗", "👩\u200d🔬", "عربى")
    truth = ground_truth(
        {1: [([0.0, 0.0, 10.0, 10.0], label) for label in range(3)]}, class_names=names
    )
    drawn_curves(matched(truth, perfect(truth)))
    assert spelt_for_dejavu("狗 é عربى") == "\\u72d7 é عربى"
