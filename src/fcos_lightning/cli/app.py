"""What all commands share: Hydra in front, one clear line when the user can mend something.

Nothing here imports torch: help and mistyped overrides answer at once.
"""

from __future__ import annotations

import copyreg
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

import fcos_lightning.runs.config.opaque  # noqa: F401  # our resolver, which words may hold
from fcos_lightning import __version__
from fcos_lightning.errors import CHOICES_CHARACTERS, UserError
from fcos_lightning.printing import first_line, message_line
from fcos_lightning.runs.config.composed import config_dir
from fcos_lightning.runs.config.words import options_first, quoted_words, refuse_bare
from fcos_lightning.runs.objects.instantiate import trusted_packages
from fcos_lightning.runs.options.keys import check_keys, explained, settings_of
from fcos_lightning.runs.refusals import refusal

#: Exit status for everything the user can mend.
USER_ERROR = 2
#: What shells say of a process that SIGPIPE ends.
_BROKEN_PIPE = 141


def run(task: Callable[[DictConfig], None], config_name: str) -> None:
    """Compose the configuration from the command line and run a task with it.

    A ``UserError`` is printed as one line and ends the process with status 2, as does a
    configuration that Hydra cannot compose, or that holds settings that do not exist.
    """
    if "--version" in sys.argv[1:]:  # to Hydra that would be a question about itself
        print(f"fcos-lightning {__version__}")
        return
    if {"--help", "-h"} & set(sys.argv[1:]):
        from fcos_lightning.cli.short_help import short_help

        try:
            print(short_help(config_dir(), config_name), flush=True)
        except BrokenPipeError:
            _end_unread()
        return
    sys.argv[1:] = ["--help" if word == "--help-all" else word for word in sys.argv[1:]]
    # A name that the terminal has no letters for is no reason to end a run.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    swept = bool({"-m", "--multirun"} & set(sys.argv))
    try:
        refuse_bare(sys.argv[1:], settings_of(config_dir(), config_name))
        sys.argv[1:] = options_first(quoted_words(sys.argv[1:], swept))
    except UserError as error:
        fail(error)
    # For each group that help lists, Hydra copies its sources of configurations, and with them the
    # store behind one of them, which hands out copies only. A process has one store: so keep it.
    copyreg.pickle(ConfigStore, lambda _: (ConfigStore.instance, ()))
    started = False

    def guarded(config: DictConfig) -> None:
        nonlocal started
        started = True
        try:
            check_keys(config, config_dir(), config_name)
            task(config)
        except Exception as error:
            fail_if_refused(error)
            raise

    command = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)
    try:
        with _errors_handed_over():
            command(guarded)()
    except HydraException as error:
        fail(explained(error, config_dir(), config_name, sys.argv[1:]))
    except OmegaConfBaseException as error:
        fail_if_refused(error)
    except BrokenPipeError:  # who reads what is printed, as head, has enough of it
        _end_unread()
    except ValueError as error:  # what Hydra's own words cannot say, as augment=null
        if started:
            raise
        fail(UserError(f"configuration: {first_line(error)}"))
    except OSError as error:  # a choice that no file can be called
        fail_if_refused(error)
        raise
    except SystemExit as stop:
        if stop.code == 1 and not started:
            raise SystemExit(USER_ERROR) from None
        raise


def _end_unread() -> NoReturn:
    """End the process as a shell expects it of one whose output nobody reads any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what Python writes as it ends
    raise SystemExit(_BROKEN_PIPE) from None


def fail_if_refused(error: Exception) -> None:
    """Print an error as one line and end the process, if the user can mend it."""
    refused = refusal(error, trusted_packages())
    if refused is not None:
        fail(refused)


@contextmanager
def _errors_handed_over() -> Iterator[None]:
    """Have Hydra raise what is wrong with a command line, rather than print its own advice."""
    name = "HYDRA_FULL_ERROR"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def fail(error: BaseException) -> NoReturn:
    """Print an error as one line and end the process."""
    # A line of our own is short enough, or shows what there is to choose from.
    line = message_line(one_line(error), CHOICES_CHARACTERS)
    print(f"error: {line}", file=sys.stderr, flush=True)
    raise SystemExit(USER_ERROR)


def one_line(error: BaseException) -> str:
    """Return an error's message without the traceback that a loader process wraps it in."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Caught "):
        marker = "UserError: "
        lines = [line.split(marker, 1)[1] for line in lines if marker in line] or lines[-1:]
    return " ".join(line.strip() for line in lines)


def required(config: DictConfig, key: str, hint: str) -> str:
    """Return a value the user has to give.

    Raises:
        UserError: saying how, if it is missing.
    """
    value = config.get(key)
    if value in (None, ""):
        raise UserError(f"{key}= is missing; {hint}")
    return str(value)
