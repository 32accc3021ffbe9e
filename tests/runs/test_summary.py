from types import SimpleNamespace
from typing import Any

from tests.evaluation.scenes import ground_truth

from fcos_lightning.runs.summary import _by_class, _odd_classes

BOX = [0.0, 0.0, 10.0, 10.0]


def data(names: tuple[str, ...], train: list[int], val: list[int]) -> Any:
    """Splits in which these labels occur."""
    truths = (
        ground_truth(
            {number: [(BOX, label)] for number, label in enumerate(labels)},
            category_ids=tuple(range(len(names))),
            class_names=names,
        )
        for labels in (train, val)
    )
    splits = [
        SimpleNamespace(name=name, truth=truth)
        for name, truth in zip(("train", "val"), truths, strict=True)
    ]
    return SimpleNamespace(train=splits[0], val=splits[1])


def test_boxes_are_counted_by_class_the_most_frequent_first() -> None:
    assert list(_by_class(data(("a", "b", "c"), [1, 1, 2, 1], [0]))) == ["b 3, c 1, a 0"]
    names = tuple(f"n{number}" for number in range(20))
    labels = [label for label in range(20) for _ in range(20 - label)]
    (line,) = _by_class(data(names, labels, [0]))
    assert line.startswith("n0 20, n1 19, ") and line.endswith(
        "n11 9, 8 more classes 36, the rarest n19 1"
    )


def test_classes_without_boxes_are_named() -> None:
    notes = list(_odd_classes(data(("a", "b", "c"), [1, 1], [1, 2])))
    assert notes == [
        "train has no box of 2 of 3 classes, nothing to learn them from: a, c",
        "val has no box of 1 of 3 classes, they have no AP: a",
    ]
    assert list(_odd_classes(data(("a", "b"), [0, 1], [0, 1]))) == []
    # Of a split without any box another note speaks.
    assert list(_odd_classes(data(("a", "b"), [0, 1], []))) == []


def test_names_that_differ_in_case_or_spaces_only_are_remarked_upon() -> None:
    names = ("Cat", "cat", "dog", "traffic  light", "Traffic light", "Straße", "STRASSE")
    notes = list(_odd_classes(data(names, list(range(7)), list(range(7)))))
    assert [note.split(" differ")[0] for note in notes] == [
        "the classes Cat, cat",
        "the classes traffic light, Traffic light",
        "the classes Straße, STRASSE",
    ]
