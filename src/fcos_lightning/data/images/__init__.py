"""Image files to RGB pixels, under one policy wherever an image is read.

The policy is *the stored pixels*. An EXIF orientation is ignored, because COCO's annotations refer
to the pixels as stored; only images without annotations are read ``upright``, as the camera means
them. Alpha is dropped, not blended: the stored colour counts, whatever it was
meant to be shown on. Deep greyscale keeps its high byte, which is what Pillow and libpng do with
48-bit colour. Of an animation the first frame is read.
"""

from fcos_lightning.data.images.opened import (
    IMAGE_ENDINGS,
    LARGEST_PX,
    ImageHeader,
    ImageSource,
    StoredImage,
    belongs_to,
    image_frame,
    image_header,
    image_size,
    is_turned,
    tiff_tags,
)
from fcos_lightning.data.images.rgb import read_image, rgb_of

__all__ = [
    "IMAGE_ENDINGS",
    "LARGEST_PX",
    "ImageHeader",
    "ImageSource",
    "StoredImage",
    "belongs_to",
    "image_frame",
    "image_header",
    "image_size",
    "is_turned",
    "read_image",
    "rgb_of",
    "tiff_tags",
]
