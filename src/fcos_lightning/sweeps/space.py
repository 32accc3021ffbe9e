"""From a command line to jobs: which words are fixed, which are swept, over what."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    Glob,
    IntervalSweep,
    Override,
    RangeSweep,
    Sweep,
    Transformer,
)
from hydra.errors import HydraException

from fcos_lightning.errors import UserError
from fcos_lightning.printing import printable

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


#: More values of one key than any sweep has.
_MOST = 100_000


@dataclass(frozen=True)
class Space:
    """What a sweep goes over.

    Attributes:
        fixed: words that every job gets.
        swept: by key, the parsed sweep.
        cases: words that belong together; each job gets those of one case. None: there are none.
    """

    fixed: tuple[str, ...]
    swept: Mapping[str, Override]
    cases: tuple[tuple[str, ...], ...] = ((),)

    @property
    def keys(self) -> tuple[str, ...]:
        """What is swept, in the order given."""
        return tuple(self.swept)

    def choices(self, key: str) -> list[str]:
        """Return the values of a key as words of a command line.

        Raises:
            UserError: if they are not countable.
        """
        override = self.swept[key]
        value = override.value()
        if isinstance(value, IntervalSweep):
            raise UserError(
                f"{key}: an interval has no list of values; add sweep.search=optuna, or list values"
            )
        if isinstance(value, Glob):
            raise UserError(f"{key}: glob() is not supported in sweeps; list the values")
        words = list(islice(override.sweep_iterator(transformer=_as_typed), _MOST + 1))
        if len(words) > _MOST:
            raise UserError(f"{key}: has more than {_MOST} values")
        return [str(word) for word in words]

    def grid(self) -> list[tuple[str, ...]]:
        """Return the swept words of every job: case by case, the last key changing fastest."""
        lists = [[f"{key}={value}" for value in self.choices(key)] for key in self.keys]
        return [(*case, *words) for case in self.cases for words in product(*lists)]

    def check_holds(self, words: Sequence[str]) -> None:
        """Refuse words that do not come from this space, as a file could name any.

        Args:
            words: of one job, as ``grid`` or a search gives them.

        Raises:
            UserError: naming the first.
        """
        for word in words:
            key, _, value = word.partition("=")
            if any(word in case for case in self.cases):
                continue
            if key not in self.swept or not self._can_be(key, value):
                raise UserError(f"{printable(word)}: is not one of the values that are swept")

    def _can_be(self, key: str, value: str) -> bool:
        if key in self._listed:
            return value in self._listed[key]
        return re.fullmatch(r"-?\d+(\.\d*)?(e[-+]?\d+)?", value) is not None  # of an interval

    @cached_property
    def _listed(self) -> dict[str, frozenset[str]]:
        intervals = {k for k, v in self.swept.items() if isinstance(v.value(), IntervalSweep)}
        return {key: frozenset(self.choices(key)) for key in self.swept if key not in intervals}

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return what Optuna may draw from."""
        return {key: self._distribution(key) for key in self.keys}

    def _distribution(self, key: str) -> BaseDistribution:
        from optuna import distributions as kinds

        value = self.swept[key].value()
        log = isinstance(value, Sweep) and "log" in value.tags
        if isinstance(value, IntervalSweep):
            assert value.start is not None and value.end is not None
            if isinstance(value.start, int) and isinstance(value.end, int):
                return kinds.IntDistribution(value.start, value.end, log=log)
            return kinds.FloatDistribution(float(value.start), float(value.end), log=log)
        if isinstance(value, RangeSweep):
            steps = value.range()
            if isinstance(steps, range) and len(steps) and steps.step > 0:
                return kinds.IntDistribution(steps[0], steps[-1], step=steps.step)
        return kinds.CategoricalDistribution(self.choices(key))


def parse_space(
    words: Sequence[str], params: Mapping[str, Any], cases: Sequence[Sequence[str]] = ()
) -> Space:
    """Tell fixed words from swept ones.

    Args:
        words: overrides in Hydra's syntax; ``key=a,b`` and so on are swept.
        params: more that is swept, by key, as ``sweep.params`` of a file in ``conf/sweep``; words
            with the same key come instead.
        cases: see ``Space``, as ``sweep.cases`` of such a file.

    Raises:
        UserError: if a word cannot be read or is what the cases are about, or nothing is swept.
    """
    for word in words:
        if word.split("=", 1)[0] in {one.split("=", 1)[0] for case in cases for one in case}:
            raise UserError(f"{word}: is what the cases of this sweep differ in; leave it out")
    given = {word.split("=", 1)[0] for word in words}
    more = [f"{key}={_word(values)}" for key, values in params.items() if key not in given]
    parser = OverridesParser.create()
    fixed, swept = [], {}
    for word in (*words, *more):
        try:
            override = parser.parse_override(word)
        except HydraException as error:
            raise UserError(f"{word}: {' '.join(str(error).split())}") from error
        if override.is_sweep_override():
            swept[override.get_key_element()] = override
        else:
            assert override.input_line is not None
            fixed.append(override.input_line)
    if not swept and not cases:
        raise UserError(
            "-m: nothing is swept; give a key several values, as model=r18,mnv2, or sweep=NAME "
            "for a list of conf/sweep"
        )
    return Space(tuple(fixed), swept, tuple(map(tuple, cases)) or ((),))


def check_countable(space: Space, most: int) -> None:
    """Refuse a grid that nobody can have meant.

    Raises:
        UserError: saying how many jobs it would be.
    """
    number = len(space.cases) * math.prod(len(space.choices(key)) for key in space.keys)
    if number > most:
        raise UserError(f"the grid has {number} jobs, more than sweep.most={most}")


def _as_typed(value: Any) -> str:  # noqa: ANN401  # Hydra's parsed element
    """Write a parsed value as a word again; Hydra's own function writes True for true."""
    return str(value).lower() if isinstance(value, bool) else str(Transformer.encode(value))


def _word(values: object) -> str:
    """Write a list of a configuration file as Hydra's sweep syntax; strings stand as they are."""
    if isinstance(values, str):
        return values
    if isinstance(values, Sequence):
        return ",".join(_plain(value) for value in values)
    return _plain(values)


def _plain(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(_plain(item) for item in value)}]"
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return str(value)
