"""What the user can mend is one line; faults of code keep their traceback."""

import errno
import os
import types
from collections.abc import Callable

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcos_lightning.errors import UserError
from fcos_lightning.runs.refusals import refusal, refusals_in_one_line


def raised_in(package: str, error: Exception) -> Exception:
    """An error as it comes out of a function of a package, through one of another."""
    module = types.ModuleType(package)
    module.__dict__["error"] = error
    exec("def do(call=None):\n    if call: call()\n    raise error", module.__dict__)
    return caught(module.do)


def caught(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MisconfigurationException("no\nlogger"), "Lightning refuses these settings: no logger"),
        (ValueError("val_check_interval"), "Lightning refuses these settings: val_check_interval"),
        (ValueError(f"Too many. {'X' * 300}."), "Lightning refuses these settings: Too many."),
        (AttributeError("lr"), "AttributeError: lr"),
    ],
)
def test_what_lightning_raises_is_about_its_settings(error: Exception, says: str) -> None:
    for package in ("lightning.pytorch.loops", "lightning.fabric", "lightning_utilities.core"):
        line = str(refusal(raised_in(package, error)))
        assert line.endswith(says) and "\n" not in line


@pytest.mark.parametrize(
    "package", ["fcos_lightning.training.module", "mypkg.net", "__main__", "torch.nn"]
)
def test_what_other_code_raises_keeps_its_traceback(package: str) -> None:
    error = raised_in(package, ValueError("x"))
    assert refusal(error, trusted=["mypkg"]) is None
    with pytest.raises(ValueError, match="x") as info, refusals_in_one_line(["mypkg"]):
        raise error
    assert info.value is error


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS])
def test_places_that_are_closed_or_full_are_named(number: int) -> None:
    line = str(refusal(OSError(number, os.strerror(number), "/x/y")))
    assert "/x/y" in line and os.strerror(number) in line


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        OSError(errno.ENFILE, os.strerror(errno.ENFILE)),
        RuntimeError("Too many open files. Communication with the workers is no longer possible."),
    ],
)
def test_too_many_open_files_says_what_to_lower(error: Exception) -> None:
    line = str(refusal(error))
    assert "ulimit" in line and "num_workers" in line


@pytest.mark.parametrize(
    "error",
    [
        caught(lambda: torch.empty(2**60)),
        caught(lambda: np.empty(2**60, dtype=np.uint8)),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libtorch_cuda.so: failed to map segment from shared object"),
        ImportError("libtorch_cuda.so: failed to map segment from shared object"),
    ],
)
def test_want_of_memory_says_what_to_lower(error: Exception) -> None:
    assert "give smaller batches" in str(refusal(error))


@pytest.mark.parametrize(
    "text",
    [
        "DataLoader worker (pid 12) is killed by signal: Killed. ",
        "DataLoader worker (pid(s) 12, 13) exited unexpectedly",
    ],
)
def test_a_lost_loader_process_says_what_to_lower(text: str) -> None:
    assert "data.num_workers" in str(refusal(RuntimeError(text)))


def test_a_configuration_that_cannot_be_looked_up_is_the_users() -> None:
    error = caught(lambda: OmegaConf.create({"a": "${b}"}).a)
    assert isinstance(error, OmegaConfBaseException)
    assert str(refusal(error)).startswith("configuration: ")


def test_the_error_behind_a_line_is_its_cause() -> None:
    error = raised_in("lightning.x", ValueError("x"))
    with pytest.raises(UserError, match="refuses") as info, refusals_in_one_line():
        raise error
    assert info.value.__cause__ is error
    with pytest.raises(UserError, match="mine"), refusals_in_one_line():
        raise UserError("mine")
