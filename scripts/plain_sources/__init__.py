"""Plain re-implementations of published detectors, as formulas over a source's own weights.

What the sources' own code computes is compared where its outputs are at hand; for the other
configurations these stand in. They share no line with ``fcos_lightning``: a forward pass asks for
weights by the source's keys, and each operation is written out.

Shapes: B images, C channels, H and W of a map; ``k`` places of a kernel.
"""
