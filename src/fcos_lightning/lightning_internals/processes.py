"""Signals that come to a run, and the processes that it starts."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher


@contextmanager
def signals_left_alone(trainer: L.Trainer) -> Iterator[None]:
    """Have a Trainer leave signals to whoever had them before.

    On SIGTERM Lightning ends the process with status 0, whatever was left undone, and on Ctrl-C
    with status 1. In public there is no way to say otherwise.

    Args:
        trainer: that runs inside.

    Raises:
        KeyboardInterrupt: in place of the exit that Lightning makes of it.
    """
    connector: Any = trainer._signal_connector
    connector.register_signal_handlers = lambda: None
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        if not isinstance(ended.__context__, KeyboardInterrupt):  # not made of one by Lightning
            raise
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # Lightning's, while it ends
            signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
        raise KeyboardInterrupt from None


def processes_started(trainer: L.Trainer, started: list[subprocess.Popen[bytes]]) -> None:
    """Have the processes that a Trainer starts written down, and leave them alone otherwise.

    Lightning kills the whole run, without a word, a while after one of them has ended. In public it
    hands nobody the processes.

    Args:
        trainer: that has started nothing yet.
        started: gets them.
    """
    launcher = trainer.strategy.launcher
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return
    start = launcher._call_children_scripts

    def start_and_hand_over() -> None:
        start()
        started[:] = launcher.procs
        launcher.procs = []  # nothing for Lightning to watch

    launcher._call_children_scripts = start_and_hand_over  # type: ignore[method-assign]
