"""Nets that turn an image into feature maps; they declare their channels and strides."""
