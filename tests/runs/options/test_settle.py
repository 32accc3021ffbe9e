"""``schedule.max_epochs=10`` beside a schedule in steps, and the reverse."""

import pytest

from fcos_lightning.errors import UserError
from fcos_lightning.runs.config.composed import composed, given_words
from fcos_lightning.runs.objects.instantiate import make
from fcos_lightning.runs.options.settle import settle_length, settle_optimizer
from fcos_lightning.training.schedule import Schedule


def schedule_of(*words: str) -> Schedule:
    with composed("train", words) as config:
        settle_length(config, given_words())
        made = make(config, "schedule")
    assert isinstance(made, Schedule)
    return made


def test_epochs_take_the_place_of_steps_and_the_rate_falls_at_the_same_shares() -> None:
    usual, mine = schedule_of(), schedule_of("schedule.max_epochs=10")
    assert (mine.max_steps, mine.max_epochs) == (None, 10)
    total = usual.max_steps
    assert total is not None
    for share in (0.3, 0.66, 0.67, 0.88, 0.89, 0.99):
        assert mine.factor(round(share * 2000), 2000) == pytest.approx(
            usual.factor(round(share * total), total) if share * 2000 > 500 else 1.0
        )


def test_steps_take_the_place_of_epochs() -> None:
    mine = schedule_of("schedule=quick", "schedule.max_steps=50")
    assert (mine.max_steps, mine.max_epochs) == (50, None)


def test_milestones_that_are_given_are_those_that_count() -> None:
    mine = schedule_of("schedule.max_epochs=10", "schedule.milestones=[0.5,0.75]")
    assert mine.milestones == [0.5, 0.75]


def test_a_recipe_that_clips_trains_in_mixed_precision_too() -> None:
    words = ["experiment=finetune", "trainer.precision=bf16-mixed"]
    for more, fused in (([], False), (["trainer.precision=32-true"], True)):
        with composed("train", [*words[:1], *(more or words[1:])]) as config:
            settle_optimizer(config, given_words())
            assert config.schedule.optimizer.fused is fused


def test_both_on_the_command_line_stay_a_contradiction() -> None:
    with pytest.raises(UserError, match="one of max_steps and max_epochs"):
        schedule_of("schedule.max_epochs=10", "schedule.max_steps=5")


@pytest.mark.parametrize("word", ["schedule.max_epochs=0", "schedule.max_steps=-1"])
def test_no_length_is_no_length(word: str) -> None:
    with pytest.raises(UserError, match="give at least 1"):
        schedule_of(word)
