"""Which names a configuration may call, and how the others are refused."""

import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fcos_lightning.errors import UserError
from fcos_lightning.runs.objects.instantiate import make
from fcos_lightning.runs.objects.targets import PARTS, ROLES, target

ALLOWED = [
    *PARTS,
    "torch.optim.SGD",
    "torch.optim.adamw.AdamW",
    "torch.optim.lr_scheduler.CosineAnnealingLR",
    "torch.nn.GroupNorm",
    "torchvision.ops.FrozenBatchNorm2d",
    "lightning.Trainer",
    "lightning.pytorch.Trainer",
    "lightning.pytorch.callbacks.EarlyStopping",
    "lightning.pytorch.callbacks.early_stopping.EarlyStopping",
    "lightning.pytorch.loggers.WandbLogger",
    "lightning.pytorch.loggers.MLFlowLogger",
    "lightning.pytorch.strategies.FSDPStrategy",
    "lightning.pytorch.accelerators.CUDAAccelerator",
    "lightning.pytorch.profilers.PyTorchProfiler",
    "lightning.pytorch.plugins.MixedPrecision",
    "lightning.pytorch.plugins.io.AsyncCheckpointIO",
    "lightning.pytorch.plugins.environments.SLURMEnvironment",
    "albumentations.OneOf",
    "albumentations.HorizontalFlip",
    "fcos_lightning.data.ShorterSide",
    "fcos_lightning.data.CocoDataModule",
    "fcos_lightning.training.callbacks.ema.EMA",
    "fcos_lightning.training.loggers.csv_log.RunCSVLogger",
    "fcos_lightning.detector.FPN",
    "fcos_lightning.detector.head.Head",
]
REFUSED = {
    # Functions, whatever they do.
    "torch.load": "has no role",
    "torch.save": "has no role",
    "torch.hub.load": "has no role",
    "torch.hub.load_state_dict_from_url": "has no role",
    "torch.utils.cpp_extension.load": "has no role",
    "torch.distributed.run.main": "has no role",
    "torch.ops.load_library": "has no role",
    "torchvision.io.write_file": "has no role",
    "torchvision.datasets.utils.download_url": "has no role",
    "albumentations.load": "has no role",
    "albumentations.from_dict": "has no role",
    "lightning.pytorch.utilities.migration.utils.migrate_checkpoint": "has no role",
    "fcos_lightning.sweeps.jobs.run_command": "has no role",
    "fcos_lightning.cli.train.main": "has no role",
    "fcos_lightning.storage.replacing.write_whole": "has no role",
    "fcos_lightning.load_detector": "has no role",
    # Classes without a role in a run.
    "torch.package.PackageImporter": "has no role",
    "torch.jit.ScriptModule": "has no role",
    "torch.fx.GraphModule": "has no role",
    "torch.utils.data.DataLoader": "has no role",
    "lightning.pytorch.cli.LightningCLI": "has no role",
    "fcos_lightning.sweeps.jobs.LocalLauncher": "has no role",
    "fcos_lightning.inference.engines.onnx_runtime.OnnxDetector": "has no role",
    # What is private, or lies in something that is no module.
    "lightning.fabric.utilities.cloud_io._load": "is private",
    "torch._C.Generator": "is private",
    "fcos_lightning.data.modules._missing_root": "is private",
    "torch.os.system": "there is no module torch.os",
    "torch.builtins.exec": "there is no module torch.builtins",
    "fcos_lightning.cli.app.os.system": "there is no module",
    "fcos_lightning.cli.app.sys.modules.get": "there is no module",
    "torch.nn.Linear.from_float": "there is no module torch.nn.Linear",
    "torch.optim.SGD.load_state_dict": "there is no module torch.optim.SGD",
    # What another package defines, which is called by its own name.
    "fcos_lightning.storage.run_folder.Path": "has no role",
    "lightning.pytorch.core.module.Module": "has no role",
    "fcos_lightning.detector.fpn.nn": "has no role",
    "fcos_lightning.training.schedule.LambdaLR": "has no role",
    "fcos_lightning.training.callbacks.ema.WeightAveraging": "has no role",
    # Other packages, and no names at all.
    "os.system": "os is not trusted",
    "builtins.eval": "it is Python's own",
    "hydra.utils.get_object": "trusted_packages=[hydra] to the command line",
    "omegaconf.OmegaConf": "omegaconf is not trusted",
    "numpy.load": "numpy is not trusted",
    "torch": "give the name of a class",
    "": "give the name of a class",
    "torch..load": "give the name of a class",
    "torch.optim.SGD ": "give the name of a class",
    "torch.optim.sgd/../x": "give the name of a class",
    "torch.optim.Nothing": "there is no Nothing in torch.optim",
    "lightning.pytorch.nothing.Thing": "there is no module lightning.pytorch.nothing",
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_has_a_role_may_be_called(name: str) -> None:
    assert callable(target(name, "x"))


@pytest.mark.parametrize(("name", "said"), REFUSED.items())
def test_what_has_none_is_refused_in_one_line(name: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        target(name, "part.x")
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"part.x._target_={name}: ")


@pytest.mark.parametrize("name", [5, None, ["torch.optim.SGD"], {"_target_": "torch.optim.SGD"}])
def test_a_name_is_text(name: object) -> None:
    with pytest.raises(UserError, match="give the name of a class"):
        target(name, "x")


def test_every_role_is_one_that_its_homes_have() -> None:
    for role in ROLES:
        package, _, name = role.base.rpartition(".")
        base = getattr(__import__(package, fromlist=[name]), name)
        assert isinstance(base, type)
        # The list of homes cannot be left behind when a library moves its classes.
        derived = [base, *all_below(base)]
        for home in role.homes:
            assert any(one.__module__.startswith(home) for one in derived), (role, home)


def all_below(base: type) -> list[type]:
    below = type.__subclasses__(base)
    return below + [one for child in below for one in all_below(child)]


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "os.system", "_args_": ["x"]},
        {"_target_": "os.system", "_partial_": True},
        {"_target_": "torch.optim.SGD", "_partial_": True, "params": {"_target_": "os.system"}},
        {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "os.system"}]},
        {"_target_": "torch.nn.Linear", "_recursive_": False, "bias": {"_target_": "os.system"}},
        {"a": [{"b": {"_target_": "os.system"}}]},
        {"_target_": "${name}"},
        {"a": "${node}"},
        {"a": "${oc.create:'{_target_: os.system}'}"},
        "${node}",
        "${oc.create:'{_target_: os.system}'}",
        {"_target_": "hydra.utils.get_object", "path": "os.system"},
        {"_target_": "hydra.utils.instantiate", "_args_": [{"_target_": "os.system"}]},
    ],
)
def test_a_name_is_judged_wherever_it_stands(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    monkeypatch.setattr("os.system", called.append)
    config = OmegaConf.create({"x": node, "name": "os.system", "node": {"_target_": "os.system"}})
    with pytest.raises(UserError, match="is not trusted"):
        make(config, "x")
    assert not called


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's package, which also holds what others define."""
    folder = tmp_path / "ownparts"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "nets.py").write_text(
        "import os\nfrom os import system\nfrom functools import partial\n"
        "def build(size=1): return ('built', size)\n"
        "class Net:\n"
        "    def __init__(self, size=1): self.size = size\n"
        "    @classmethod\n"
        "    def small(cls): return cls(7)\n"
        "shortcut = partial(system, 'true')\n"
    )
    (folder / "broken.py").write_text("1 / 0")
    (folder / "needy.py").write_text("import nothing_of_that_name")
    monkeypatch.syspath_prepend(tmp_path)
    yield "ownparts"
    for name in [name for name in sys.modules if name.startswith("ownparts")]:
        del sys.modules[name]


def own(name: str) -> dict[str, Any]:
    return {"_target_": f"ownparts.{name}"}


def test_a_trusted_package_may_call_what_it_defines(package: str) -> None:
    def made(name: str) -> Any:
        return make(OmegaConf.create({"x": own(name)}), "x", trusted=[package])

    assert made("nets.build") == ("built", 1)
    assert made("nets.Net").size == 1
    assert made("nets.Net.small").size == 7
    with pytest.raises(UserError, match=r"add trusted_packages=\[ownparts\] to the command line"):
        make(OmegaConf.create({"x": own("nets.build")}), "x")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nets.system", "is defined in posix, not in ownparts"),
        ("nets.os.system", "is defined in posix, not in ownparts"),
        ("nets.partial", "is defined in functools"),
        ("nets.shortcut", "not in ownparts"),
        ("nets.os", "is no class and no function"),
        ("nets.Nothing", "there is no such class or function"),
        ("nothing.Net", "there is no such class or function"),
        ("broken.Net", "importing it ended in ZeroDivisionError"),
        ("needy.Net", "No module named 'nothing_of_that_name'; install what it needs first"),
    ],
)
def test_what_it_does_not_define_is_refused(package: str, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make(OmegaConf.create({"x": own(name)}), "x", trusted=[package])


@pytest.mark.parametrize("package", ["os", "builtins", "subprocess", "importlib.util", "a b", ""])
def test_what_is_nobodys_own_is_not_trusted(package: str) -> None:
    config = OmegaConf.create({"x": {"_target_": f"{package}.system"}})
    with pytest.raises(UserError, match="trusted_packages"):
        make(config, "x", trusted=[package])


def test_a_configuration_cannot_trust_anybody(package: str) -> None:
    """Only the command line can; in a file it is a setting without effect."""
    config = OmegaConf.create({"x": own("nets.build"), "trusted_packages": [package]})
    with pytest.raises(UserError, match="to the command line"):
        make(config, "x")


def test_arguments_that_are_handed_over_are_passed_on_as_they_are() -> None:
    """Names of classes come from data: what they would mean to OmegaConf is not asked."""
    config = OmegaConf.create({"x": {"_target_": "fcos_lightning.build_fcos"}})
    config.x.update({"backbone": {"name": "tiny", "frozen_stages": 0}, "fpn": {"levels": [3, 4]}})
    names = ("${oc.env:HOME}", "a${b}", "${", "???", "${oc.create:{_target_: os.system}}")
    detector = make(config, "x", class_names=names, category_ids=(1, 2, 3, 4, 5))
    assert detector.class_names == names
