#!/usr/bin/env python
"""Fetch Pascal VOC into DIR/VOCdevkit/{VOC2007,VOC2012}.

Run again after an interruption: it goes on where it was. The archives' MD5 sums are checked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fcos_lightning.data.public_sets import VOC, VOC_URL, command


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch what the arguments ask for; returns the exit status."""
    return command(
        argv,
        VOC,
        description=__doc__ or "",
        official_url=VOC_URL,
        default_splits=("2007-trainval", "2007-test"),
        next_step="ready: fcos-train data=voc data.root={root}",
    )


if __name__ == "__main__":
    sys.exit(main())
