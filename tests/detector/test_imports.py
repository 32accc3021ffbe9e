"""What an import costs: the detector is a library of torch and torchvision alone."""

import os
import subprocess
import sys
from pathlib import Path

import fcos_lightning

FONT_LIST = "fcos_lightning.storage.font_list"
SOURCE = Path(fcos_lightning.__file__).parents[1]


def loaded_after(statement: str) -> set[str]:
    """Names of all modules of a fresh process that has run the statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    return set(done.stdout.split())


def roots(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_the_detector_loads_torch_and_torchvision_alone() -> None:
    modules = loaded_after("import fcos_lightning.detector")
    assert {"torch", "torchvision"} <= roots(modules)
    others = {"lightning", "pytorch_lightning", "lightning_fabric", "hydra", "omegaconf"}
    others |= {"albumentations", "cv2", "pycocotools", "torchmetrics"}
    others |= {"rich", "tensorboard", "av", "timm"}
    assert not others & roots(modules)
    ours = {m for m in modules if m.startswith("fcos_lightning.")}
    allowed = (
        "structures",
        "boxes",
        "errors",
        "extras",
        "late_matplotlib",
        "moved",
        "printing",
        "weights",
        "layers",
        "backbones",
        "detector",
        "storage",
    )
    assert {m for m in ours if m.startswith("fcos_lightning.storage.")} == {FONT_LIST}
    assert {m.split(".")[1] for m in ours} == set(allowed)


def test_the_package_alone_loads_no_torch() -> None:
    modules = loaded_after("import fcos_lightning")
    assert not {"torch", "torchvision", "numpy", "lightning", "hydra"} & roots(modules)
    ours = {m for m in modules if m.startswith("fcos_lightning")}
    hooks = {"fcos_lightning.late_matplotlib", "fcos_lightning.storage", FONT_LIST}
    assert ours == {"fcos_lightning", "fcos_lightning.moved", *hooks}  # moved finds what has moved


def test_the_public_names_are_loaded_on_first_use() -> None:
    modules = loaded_after("from fcos_lightning import Target, Detections")
    assert "fcos_lightning.structures" in modules
    assert "fcos_lightning.detector" not in modules
    wanted = {"Target", "Detections", "Predictor", "build_fcos", "build_detector", "load_detector"}
    assert wanted <= set(fcos_lightning.__all__)
    for name in fcos_lightning.__all__:
        assert getattr(fcos_lightning, name).__name__ == name
    assert not hasattr(fcos_lightning, "no_such_name")
