#!/usr/bin/env python
"""Fetch COCO 2017 into DIR/{train2017,val2017,annotations}.

Run again after an interruption: it goes on where it was. No checksums of these archives are
published as far as we know; what is checked is the size the server gives and the CRC of every
file in the archive.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fcos_lightning.data.public_sets import COCO, COCO_URL, command


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch what the arguments ask for; returns the exit status."""
    return command(
        argv,
        COCO,
        description=__doc__ or "",
        official_url=COCO_URL,
        default_splits=("train2017", "val2017"),
        always=("annotations",),
        next_step="ready: fcos-train data=coco data.root={root}",
    )


if __name__ == "__main__":
    sys.exit(main())
