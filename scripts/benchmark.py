"""Measure ours against the installed peers and write docs/performance.md.

    python scripts/benchmark.py                      every row
    python scripts/benchmark.py row=losses,decode    some rows; the others keep their figures
    python scripts/benchmark.py row=losses rounds=3 out=DIR   fewer repetitions, another folder

Each row is a process of its own, in which ours and the peer take turns on the same inputs, and
which checks that both give the same result where they should.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # wherever it is called from

import benchmarks  # noqa: E402
from benchmarks.page import Report  # noqa: E402

#: The order of the table; rows that are not named here come after these.
ORDER = (
    "losses",
    "methods",
    "decode",
    "data",
    "index",
    "shards",
    "evaluation",
    "inference",
    "deployed",
    "predict",
    "predict_r50",
    "serving",
    "training",
    "training_mnv2",
    "gpu_training",
    "gpu_inference",
    "startup",
)


def rows() -> dict[str, ModuleType]:
    """Return the module of every row by name, in the order of the table."""
    names = [info.name for info in pkgutil.iter_modules(benchmarks.__path__)]
    found = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
    found = {name: module for name, module in found.items() if hasattr(module, "TITLE")}
    place = {name: index for index, name in enumerate(ORDER)}
    return dict(sorted(found.items(), key=lambda item: (place.get(item[0], len(ORDER)), item[0])))


def measure(name: str, rounds: int) -> Report:
    """Run one row in this process."""
    module = rows()[name]
    reason = module.absent() if hasattr(module, "absent") else None
    if reason is not None:
        return Report.left_out(name, module.TITLE, reason)
    return Report.of(name, module.TITLE, module.run(rounds))


def main(arguments: list[str] | None = None) -> int:
    """Measure the rows that are asked for and write the page; 1 if one of them failed."""
    words = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(words):
        print(f"{__doc__}\nrows: {', '.join(rows())}")
        return 0
    options = {"row": "", "rounds": "5", "out": str(HERE.parent / "docs"), "into": ""}
    for word in words:
        key, _, value = word.partition("=")
        if key not in options or not value:
            print(f"error: {word}: give row=NAME,NAME rounds=N out=DIR", file=sys.stderr)
            return 2
        options[key] = value
    known = rows()
    chosen = options["row"].split(",") if options["row"] else list(known)
    for name in chosen:
        if name not in known:
            print(f"error: row={name}: there are {', '.join(known)}", file=sys.stderr)
            return 2
    if not options["rounds"].isdigit() or options["rounds"] == "0":
        print(f"error: rounds={options['rounds']}: give 1 or more", file=sys.stderr)
        return 2

    if options["into"]:  # the child that measures one row
        report = measure(chosen[0], int(options["rounds"]))
        Path(options["into"]).write_text(report.to_json())
        return 0
    failed = []
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            into = Path(folder) / "report.json"
            words = [f"row={name}", f"rounds={options['rounds']}", f"into={into}"]
            command = [sys.executable, str(Path(__file__).resolve()), *words]
            # A thread for each processor, whatever the caller's own choice.
            environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
            if subprocess.run(command, env=environment).returncode:
                failed.append(name)
                continue
            report = Report.from_json(into.read_text())
        print(report.text(), flush=True)
        Report.keep(report, Path(options["out"]), list(known))
    if failed:
        print(f"error: these rows failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
