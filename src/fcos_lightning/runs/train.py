"""A training run from its configuration: for ``fcos-train``, and for programs and notebooks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcos_lightning.errors import UserError
from fcos_lightning.storage.run_folder import RunFolder

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from fcos_lightning.inference import Predictor


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: of the run, with ``config.yaml``, ``checkpoints/`` and so on.
        metrics: of its best checkpoint, as ``metrics.json`` has them: ``AP``, ``AP50``, ...
    """

    folder: Path
    metrics: Mapping[str, Any]

    def predictor(self, **options: Any) -> Predictor:  # noqa: ANN401  # those of Predictor.load
        """Return what finds objects in images by the best checkpoint, see ``Predictor.load``."""
        from fcos_lightning.inference import Predictor

        return Predictor.load(RunFolder(self.folder).best, **options)


def train(*overrides: str, config_dir: str | Path | None = None) -> Run:
    """Train a detector, evaluate its best checkpoint, and return what came of it.

    The same as ``fcos-train`` with these words. It may be called any number of times in a process;
    signal handlers are left as they were.

    Args:
        *overrides: as on the command line: ``"experiment=finetune"``, ``"data.root=DIR"``.
        config_dir: a folder with YAML files of your own, as ``--config-dir``.

    Raises:
        UserError: if anything of the configuration, the data or the weights does not fit.
        KeyboardInterrupt: if it is interrupted; ``resume=`` goes on with the run folder.
    """
    from fcos_lightning.runs.config.composed import composed
    from fcos_lightning.runs.objects.instantiate import trusted_packages
    from fcos_lightning.runs.refusals import refusals_in_one_line
    from fcos_lightning.signals import Stopped, handlers_kept

    for word in overrides:
        if "=" not in word:
            raise UserError(f'train({word!r}): give overrides, as "data.root=DIR"')
    with composed("train", overrides, config_dir) as config, _environment_kept(), handlers_kept():
        try:
            with refusals_in_one_line(trusted_packages()):
                return carried_out(config)
        except Stopped as stop:
            raise KeyboardInterrupt(str(stop)) from None


def carried_out(config: DictConfig) -> Run:
    """Carry out the run that a configuration describes, from data to report.

    Raises:
        UserError: if anything does not fit.
        Stopped: if the run was asked to stop, and has kept a checkpoint.
        KeyboardInterrupt: if it was interrupted at once.
    """
    from fcos_lightning.runs.config.composed import given_words
    from fcos_lightning.runs.options.settle import settle_length, settle_optimizer
    from fcos_lightning.signals import Asked, Stopped

    try:
        if config.resume is None:
            settle_length(config, given_words())
            settle_optimizer(config, given_words())
            return _begun(config)
        if config.init_from is not None:
            raise UserError(
                "resume= goes on with a run in its folder, init_from= starts a new one from "
                "weights; give one of the two"
            )
        return _gone_on(config, RunFolder(Path(str(config.resume)).absolute()))
    except Asked as asked:
        raise Stopped(asked.signum) from None


def _begun(config: DictConfig) -> Run:
    """Carry out a new run."""
    from fcos_lightning.runs.config.opaque import opaque_text
    from fcos_lightning.runs.ending import report, saying_how_to_go_on
    from fcos_lightning.runs.folder import (
        held_new_run,
        new_levels,
        removed_if_refused,
        removed_if_stopped,
        save_config,
    )
    from fcos_lightning.runs.objects.instantiate import trusted_packages
    from fcos_lightning.runs.objects.own_runs import remember
    from fcos_lightning.runs.refusals import refusals_in_one_line
    from fcos_lightning.runs.session import Session

    session = Session.prepare(config, resumed=False)
    made = new_levels(config.run_dir)
    with held_new_run(config.run_dir, config.name) as folder:
        run = RunFolder(folder)
        config.run_dir = opaque_text(str(folder))
        with removed_if_stopped(folder, made), saying_how_to_go_on(config, run):
            with (
                removed_if_refused(run, made, session.has_learnt),
                refusals_in_one_line(trusted_packages()),
            ):
                trainer = session.make_trainer()
                save_config(config, folder)
                remember(run, trusted_packages())
                session.fit(trainer, run, resumed=False)
            return Run(folder, report(session, run))


def _gone_on(given: DictConfig, run: RunFolder) -> Run:
    """Go on with a run."""
    from fcos_lightning.runs.config.composed import given_words
    from fcos_lightning.runs.config.stored import load_config
    from fcos_lightning.runs.ending import report, saying_how_to_go_on
    from fcos_lightning.runs.folder import held_for_run
    from fcos_lightning.runs.objects.instantiate import trusted_packages
    from fcos_lightning.runs.objects.own_runs import remember
    from fcos_lightning.runs.ranks import is_first_process
    from fcos_lightning.runs.resuming import continued, keep_length
    from fcos_lightning.runs.session import Session
    from fcos_lightning.storage.replacing import remove_drafts

    load_config(run.path)  # what is no run is refused before anybody waits
    with held_for_run(run.path):
        # Who held it before may have come further, or written down another length.
        config = continued(given, run.path)
        with saying_how_to_go_on(config, run):
            session = Session.prepare(config, resumed=True)
            if is_first_process():
                for folder in (run.path, run.checkpoints, run.previews):
                    remove_drafts(folder)
            trainer = session.make_trainer()
            keep_length(config, run.path, given_words())
            remember(run, trusted_packages())
            session.fit(trainer, run, resumed=True)
            return Run(run.path, report(session, run))


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Take back what a run tells its other processes through the environment."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
