"""``python -m fcos_lightning``: what commands there are."""

from __future__ import annotations

import importlib
import sys

#: Commands, and the modules that they are.
COMMANDS = {
    "fcos-doctor": "fcos_lightning.cli.doctor",
    "fcos-train": "fcos_lightning.cli.train",
    "fcos-test": "fcos_lightning.cli.test",
    "fcos-report": "fcos_lightning.cli.report",
    "fcos-explain": "fcos_lightning.cli.explain",
    "fcos-compare": "fcos_lightning.cli.compare",
    "fcos-predict": "fcos_lightning.cli.predict",
    "fcos-convert": "fcos_lightning.cli.convert",
    "fcos-serve": "fcos_lightning.cli.serve",
    "fcos-pack": "fcos_lightning.cli.pack",
}


def main() -> None:
    """List the commands, or run the one that is named: ``python -m fcos_lightning train ...``."""
    from fcos_lightning import __version__

    named = {name.removeprefix("fcos-"): module for name, module in COMMANDS.items()}
    word = sys.argv[1] if len(sys.argv) > 1 else None
    if word in named:
        del sys.argv[1]
        importlib.import_module(named[word]).main()
        return
    if word in ("--version", "-V"):
        print(__version__)
        return
    print(f"fcos-lightning {__version__}\n")
    for name, module in COMMANDS.items():
        about = (importlib.import_module(module).__doc__ or "").strip().split(": ", 1)[-1]
        print(f"  {name:14}{about[:1].upper()}{about[1:]}")
    print(
        "\nEach is also to be had as python -m fcos_lightning train, test, ...; --help lists its "
        "choices."
    )
    if word not in (None, "-h", "--help", "help"):
        print(f"\nerror: there is no command {word}", file=sys.stderr)
        raise SystemExit(2)


if __name__ == "__main__":
    main()
