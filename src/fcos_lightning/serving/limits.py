"""How much a server takes on: of bytes, pixels, time and images at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fcos_lightning.errors import UserError, shown
from fcos_lightning.processors import processor_count

#: What the sum of all bodies that are held at a time may be, in bodies of the largest size.
_BODIES = 8


@dataclass(frozen=True)
class Limits:
    """Bounds of a server; each is a key of ``conf/serve.yaml``.

    Attributes:
        batch_size: images that the detector looks at together, at most.
        delay_ms: so long the first image of a batch waits for others.
        queue: images that are taken on and not answered yet; more are refused.
        threads: that decode and resize images; None: one for each processor, 8 at most.
        max_bytes: of the body of a request, and of what is behind an address.
        max_pixels: of an image, as its header says.
        timeout_s: for a request to arrive, and again for its answer.

    Raises:
        UserError: if a number is out of its range.
    """

    batch_size: int = 4
    delay_ms: float = 5.0
    queue: int = 64
    threads: int | None = None
    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("batch_size", "queue", "threads", "max_bytes", "max_pixels"):
            value = getattr(self, name)
            if value is None and name == "threads":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"{name}={shown(value)}: give a whole number of at least 1")
        for name, least in (("delay_ms", "of at least 0"), ("timeout_s", "above 0")):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            fine = number and math.isfinite(value) and value >= 0
            if not fine or (value == 0 and least == "above 0"):
                raise UserError(f"{name}={shown(value)}: give a number {least}")

    @property
    def decoders(self) -> int:
        """How many threads decode images."""
        return self.threads or min(processor_count(), 8)

    @property
    def held_bytes(self) -> int:
        """What all bodies that are held at a time may take together."""
        return _BODIES * self.max_bytes
