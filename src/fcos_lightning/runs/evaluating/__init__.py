"""What a checkpoint is measured with, and the report of it: in ``fcos-test``, and as a run ends."""
