"""A detector behind HTTP: one process, one model, bounded everywhere.

Needs the extra ``serve``; only ``fcos-serve`` and its tests load this room.
"""
