"""Search by Optuna: a thin ask and tell over its storage, which a sweep goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fcos_lightning.errors import UserError
from fcos_lightning.extras import pip_install
from fcos_lightning.printing import first_line
from fcos_lightning.sweeps.space import Space

STORAGE = "optuna.log"


class Search:
    """Proposes values, hears how they did, and says which runs are hopeless.

    Args:
        folder: of the sweep; Optuna's journal lies there.
        space: what is searched.
        seed: of the sampler.
        pruning: give up runs whose AP stays below the median of others at the same epoch.
        pruning_warmup: epochs that every run gets.

    Raises:
        UserError: if Optuna is not installed.
    """

    def __init__(
        self, folder: Path, space: Space, seed: int, pruning: bool, pruning_warmup: int
    ) -> None:
        try:
            import optuna
        except ModuleNotFoundError:
            raise UserError(f"sweep.search=optuna: needs Optuna; {pip_install('sweep')}") from None
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._states = optuna.trial.TrialState
        self._trial = optuna.trial.Trial
        pruner = (
            optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=pruning_warmup)
            if pruning
            else optuna.pruners.NopPruner()
        )
        try:
            self.study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(folder / STORAGE))),
                study_name="sweep",
                direction="maximize",
                # Proposals after a resume shall not repeat those before it.
                sampler=optuna.samplers.TPESampler(seed=seed + self._known(folder)),
                pruner=pruner,
                load_if_exists=True,
            )
        except Exception as error:  # whatever Optuna says to a journal that is none
            raise UserError(
                f"{folder / STORAGE}: cannot be gone on from ({type(error).__name__}: "
                f"{first_line(error)}); begin the sweep anew with another sweep.dir="
            ) from error
        self._space = space
        self._distributions = space.distributions()
        self._open: dict[int, Any] = {}

    def ask(self) -> tuple[int, list[str]]:
        """Return a trial's number, and its words of a command line.

        Raises:
            UserError: if Optuna's journal holds something else than what is searched.
        """
        trial = self.study.ask(self._distributions)
        self._open[trial.number] = trial
        words = [f"{key}={_shown(value)}" for key, value in trial.params.items()]
        self._space.check_holds(words)
        return trial.number, words

    def report(self, number: int, ap_by_epoch: dict[int, float]) -> bool:
        """Take in how a run is doing; return whether it should be given up."""
        trial = self._resumed(number)
        known = self.study.trials[number].intermediate_values
        for epoch, ap in ap_by_epoch.items():
            if epoch not in known:
                trial.report(ap, epoch)
        return bool(ap_by_epoch) and bool(trial.should_prune())

    def tell(self, number: int, ap: float | None, pruned: bool = False) -> None:
        """Say how a trial ended; one without AP counts as failed."""
        if self.study.trials[number].state.is_finished():
            return
        if pruned:
            self.study.tell(number, state=self._states.PRUNED)
        elif ap is None:
            self.study.tell(number, state=self._states.FAIL)
        else:
            self.study.tell(number, ap)
        self._open.pop(number, None)

    def _resumed(self, number: int) -> Any:  # noqa: ANN401  # optuna.Trial
        if number not in self._open:
            self._open[number] = self._trial(self.study, self.study.trials[number]._trial_id)
        return self._open[number]

    @staticmethod
    def _known(folder: Path) -> int:
        journal = folder / STORAGE
        return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
