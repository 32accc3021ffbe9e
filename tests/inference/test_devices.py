from types import SimpleNamespace

import pytest
import torch

from fcos_lightning.errors import UserError
from fcos_lightning.inference import chosen_device


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends, "mps", SimpleNamespace(is_available=lambda: False))
    assert chosen_device("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(UserError, match="give device=cpu"):
            chosen_device(name)
    monkeypatch.setattr(torch.backends, "mps", SimpleNamespace(is_available=lambda: True))
    assert chosen_device("auto") == chosen_device("mps") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert chosen_device("auto") == torch.device("cuda")
    assert chosen_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match="there are 2 GPUs"):
        chosen_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "xpu", "", "cpu:1"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UserError, match="give auto, cpu, cuda, cuda:N or mps"):
        chosen_device(name)
