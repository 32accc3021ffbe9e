"""From an image to its boxes by the files of ``fcos-convert``, beside torchvision's ways.

All have the same weights, which are random: what integers cost in AP cannot be told by them, only
what they save in time.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Mapping

import torch

from benchmarks.inference import SIZE, same
from benchmarks.inference import Case as Whole
from benchmarks.measure import Figure, Result, not_installed, seconds
from fcos_lightning.inference import OnnxDetector, export_onnx
from fcos_lightning.inference.deployed.about import about_file
from fcos_lightning.inference.deployed.equality import Run, detections_of
from fcos_lightning.inference.deployed.formats import as_onnx, as_openvino, build_program
from fcos_lightning.inference.deployed.onnx_file import whole_onnx
from fcos_lightning.inference.deployed.smaller import in_int8
from fcos_lightning.inference.engines.onnx_engine import onnx_session

TITLE = "converted files, R-50, one image of 800x1088, on the processor"

TORCH, ONNX, BY_HAND = "torchvision in torch", "torchvision in ONNX Runtime", "net alone in ONNX"
#: Two are enough for random pixels, and integers are no faster by more.
CALIBRATED_ON = 2


def absent() -> str | None:
    """Say why this machine cannot run the row."""
    return not_installed("onnx", "onnxscript", "onnxruntime", "openvino")


def peer_as_onnx(case: Whole) -> Callable[[], object]:
    """Return torchvision's detector in ONNX Runtime, by the exporter that it was written for."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that become constants
        torch.onnx.export(
            case.model,
            ([case.pixels],),
            file,
            input_names=["image"],
            opset_version=17,
            dynamo=False,
        )
    session = onnx_session(file.getvalue())
    (name,) = (one.name for one in session.get_inputs())
    pixels = case.pixels.numpy()

    def detect() -> object:
        return session.run(None, {name: pixels})

    return detect


def ways_of_ours(case: Whole) -> Mapping[str, Run]:
    """Return our files, ready to run, by what they are called in the table."""
    detector = case.detector
    about = about_file(detector, {"shorter_side": 800, "longer_side": 1333})
    model = whole_onnx(detector, about)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (CALIBRATED_ON, 1, 3, *SIZE), generator=generator)
    integers = in_int8(model, noise.to(torch.uint8).numpy())
    return {
        "model.onnx": as_onnx(model).run,
        "model.xml of OpenVINO": as_openvino(model).run,
        "model.pt2": build_program(detector, about, None).run,
        "model.onnx precision=int8": as_onnx(integers).run,
        "model.xml precision=int8": as_openvino(integers).run,
    }


def run(rounds: int) -> Result:
    """Measure all in turn, with a thread for each processor."""
    torch.set_num_threads(os.cpu_count() or 1)
    case = Whole()
    image = case.image[None].numpy()
    ours = ways_of_ours(case)
    notes = []
    for name, way in ours.items():
        if "int8" in name:
            continue
        (found,) = detections_of(way(image))
        notes.append(f"{name}: the same {same(found, case.peer())} detections as torchvision.")
    by_hand = OnnxDetector(case.detector, export_onnx(case.detector))
    calls: dict[str, Callable[[], object]] = {
        TORCH: case.peer,
        BY_HAND: lambda: case.ours(by_hand),
        **{name: lambda one=way: one(image) for name, way in ours.items()},
    }
    try:
        calls[ONNX] = peer_as_onnx(case)
    except Exception as error:  # of any kind: an exporter that is on its way out
        reason = str(error).partition("\n")[0]
        notes.append(f"torchvision's detector could not be exported to ONNX: {reason}")
    took: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            one = seconds(call)
            if number:  # the first warms up
                took[name].append(one)
    figures = [
        Figure(name, peer, "s", took[name], took[peer], 2 if asked else None)
        for name in ours
        for peer in (TORCH, ONNX, BY_HAND)
        if peer in took
        for asked in ["int8" in name and peer == TORCH]
    ]
    notes += [
        f"{BY_HAND}: boxes and NMS in torch, as `fcos-test backend=onnx` does. Integers: all "
        "convolutions but the last of the head. The processor "
        f"{'has' if vnni() else 'does not have'} instructions for integers (VNNI or AMX)."
    ]
    return Result(figures, notes)


def vnni() -> bool:
    """Tell whether the processor multiplies integers of 8 bits faster than floats (Linux)."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            words = set(file.read().split())
    except OSError:
        return False
    return bool(words & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
