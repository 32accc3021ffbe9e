"""Feed files of weights that are broken, strange or hostile to everything that reads such files.

    python scripts/fuzz_checkpoints.py --cases 3000 --seed 1

Each file must be read or refused in one line. It must not run, write or fetch anything, nor take
more than a gigabyte or ten seconds of a processor. Each is read in a process of its own, which is
watched; for that, Linux is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fcos_lightning.checkpoints.translation.foreign import translated
from fcos_lightning.detector import FCOS
from fcos_lightning.weights.reading import read_file
from hostile.doors import Answer, answer, doors
from hostile.foreign import MODELS, content, shapes_of
from hostile.mutations import Mutations, saved
from hostile.payloads import bombs, programs
from hostile.runs import fit, mutated

MOST_MB, MOST_SECONDS = 1000, 10

#: What a reader of files has no reason to do (sys.addaudithook).
FORBIDDEN = (
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "os.remove"),
    *("os.mkdir", "os.rename", "os.rmdir", "socket.connect", "socket.getaddrinfo"),
)


def main() -> int:
    """Run all kinds of cases; say what was found."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--cases", type=int, default=3000, help="of each random kind")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", choices=("own", "foreign", "resume", "payloads"))
    options.add_argument("--keep", type=Path, help="a folder for files that were no good")
    given = options.parse_args()
    torch.set_num_threads(1)
    faults = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, cases in {
            "own": lambda: own(folder, given.cases, given.seed),
            "foreign": lambda: foreign(given.cases, given.seed),
            "resume": lambda: resumed(folder, given.cases, given.seed),
            "payloads": lambda: payloads(folder),
        }.items():
            if given.only in (None, kind):
                faults += report(kind, cases(), given.keep)
    return min(faults, 1)


Case = tuple[str, Callable[[], Mapping[str, Answer]], bytes]


def own(folder: Path, cases: int, seed: int) -> Iterator[Case]:
    """Mutated checkpoints of ours."""
    mutations = Mutations(seed)
    for number in range(cases):
        case = mutations.case(number)
        file = folder / f"case{case.suffix}"
        file.write_bytes(case.content)
        yield (
            f"{case.what}, case {number}{case.suffix}",
            partial(through_all_doors, file, mutations.detector, folder),
            case.content,
        )


def foreign(cases: int, seed: int) -> Iterator[Case]:
    """Mutated checkpoints of other projects."""
    shapes = [shapes_of(model) for model in MODELS]
    for number in range(cases):
        rng = random.Random(seed * 1_000_003 + number)
        at = rng.randrange(len(MODELS))
        whole, recipe = content(shapes[at], rng)
        yield (
            f"{MODELS[at].source}, case {number}",
            partial(translate, whole, recipe),
            b"",
        )


def resumed(folder: Path, cases: int, seed: int) -> Iterator[Case]:
    """Mutated checkpoints of runs that go on from them."""
    fit(folder, epochs=1)
    last = folder / "last.ckpt"
    whole = read_file(last, "checkpoint")
    for number in range(cases):
        made = saved(mutated(whole, random.Random(seed * 1_000_003 + number)))
        last.write_bytes(made)
        yield f"case {number}.ckpt", partial(go_on, folder, last), made


def go_on(folder: Path, last: Path) -> Mapping[str, Answer]:
    """Go on from a checkpoint for one more epoch."""
    return {"go on": answer(lambda: fit(folder, epochs=2, resume=last))}


def translate(whole: object, recipe: str | None) -> Mapping[str, Answer]:
    """Read a file of another project, once its tree is there."""
    return {"translate": answer(lambda: translated(whole, "a.pth", recipe))}


def payloads(folder: Path) -> Iterator[Case]:
    """Files made by hand."""
    detector, mark = Mutations(0).detector, folder / "mark"
    for name, made in (programs(mark) | bombs()).items():
        file = folder / name
        file.write_bytes(made)

        def act(file: Path = file) -> Mapping[str, Answer]:
            found = dict(through_all_doors(file, detector, folder))
            if mark.exists():
                found["program"] = Answer("fault", "ran")
            return found

        yield name, act, made
        file.unlink()


def through_all_doors(file: Path, detector: FCOS, folder: Path) -> Mapping[str, Answer]:
    """Give a file to everything that reads such files."""
    through = doors(detector, folder)
    return {name: answer(partial(door, file)) for name, door in through.items()}


def report(kind: str, cases: Iterator[Case], keep: Path | None) -> int:
    """Run cases and print what came of them; return the number of faults."""
    kinds: Counter[str] = Counter()
    slowest, largest, faults, number = 0.0, 0.0, 0, 0
    for number, (name, act, made) in enumerate(cases, start=1):
        found, mb, seconds = watched(act)
        slowest, largest = max(slowest, seconds), max(largest, mb)
        if mb > MOST_MB:
            found["memory"] = Answer("fault", f"{mb:.0f} MB of {len(made)} bytes")
        if seconds > MOST_SECONDS:
            found["time"] = Answer("fault", f"{seconds:.0f} s")
        kinds.update(f"{door} {one.kind}" for door, one in found.items())
        bad = {door: one.said for door, one in found.items() if one.kind == "fault"}
        if bad:
            faults += 1
            print(f"!! {name}: {bad}", flush=True)
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{kind}-{number}{Path(name).suffix}").write_bytes(made)
    print(f"{kind}: {faults} faults in {number} cases; {dict(sorted(kinds.items()))}")
    print(f"{kind}: at most {largest:.0f} MB and {slowest:.1f} s of a processor", flush=True)
    return faults


def watched(act: Callable[[], Mapping[str, Answer]]) -> tuple[dict[str, Answer], float, float]:
    """Do something in a process of its own.

    Returns:
        What came of it, the MB that it took at most, and the seconds of a processor.
    """
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        os.close(read_end)
        status = 1
        try:
            os.write(write_end, json.dumps(_in_child(act)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        text = file.read()
    _, status, used = os.wait4(process, 0)
    seconds = used.ru_utime + used.ru_stime
    if status:
        return {"process": Answer("fault", f"died with status {status}")}, 0.0, seconds
    mb, found = json.loads(text)
    return {door: Answer(*one) for door, one in found.items()}, mb, seconds


def _in_child(act: Callable[[], Mapping[str, Answer]]) -> tuple[float, dict[str, Any]]:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seen: list[str] = []

    def look(event: str, args: Any) -> None:  # noqa: ANN401
        # What is converted is written, which is what was asked for.
        if event in FORBIDDEN and tempfile.gettempdir() not in str(args):
            seen.append(f"{event} {str(args)[:100]}")

    Path("/proc/self/clear_refs").write_text("5")  # the most that was taken counts from here
    before = _most_mb()
    sys.addaudithook(look)
    found = {door: (one.kind, one.said[:300]) for door, one in act().items()}
    if seen:
        found["events"] = ("fault", str(seen[:3]))
    return _most_mb() - before, found


def _most_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    sys.exit(main())
