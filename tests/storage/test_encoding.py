import resource
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcos_lightning.storage.encoding import encoded


@pytest.mark.parametrize("name", ["JPEG", "PNG", "a.jpg", "b.JPEG", "c.drawn.png", "d.webp"])
def test_the_bytes_are_those_of_a_file(name: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    file = tmp_path / (name if "." in name else f"some.{name.lower()}")
    Image.fromarray(pixels).save(file, quality=90)
    assert encoded(Image.fromarray(pixels), name, quality=90) == file.read_bytes()


def test_what_the_disk_does_not_take_is_noticed(tmp_path: Path) -> None:
    """Pillow alone leaves half of it and says nothing."""
    pixels = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(pixels), "a.jpg", quality=95)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) - 1, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            (tmp_path / "a.jpg").write_bytes(whole)
        Image.fromarray(pixels).save(tmp_path / "b.jpg", quality=95)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "b.jpg").stat().st_size == len(whole) - 1  # else this is needed no more
