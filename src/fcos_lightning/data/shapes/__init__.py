"""The data set that is drawn: no download, the same for everybody."""

from fcos_lightning.data.shapes.drawn import default_cache, draw_image, write_shapes
from fcos_lightning.data.shapes.scenes import CLASS_NAMES

__all__ = ["CLASS_NAMES", "default_cache", "draw_image", "write_shapes"]
