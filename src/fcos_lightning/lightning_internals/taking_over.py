"""What Lightning takes over from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from lightning.pytorch.trainer.connectors import checkpoint_connector
from torch import Tensor

#: What ``ModelCheckpoint`` takes over, unseen, from its state in a checkpoint, and of which kind
#: that is. Some of it are attributes in public; the form of the state is not.
MODEL_CHECKPOINT_STATE: Mapping[str, tuple[type, ...]] = {
    "best_model_score": (Tensor, type(None)),
    "current_score": (Tensor, type(None)),
    "kth_value": (Tensor,),
    "best_model_path": (str,),
    "kth_best_model_path": (str,),
    "last_model_path": (str,),
    "best_k_models": (dict,),
}


def was_restoring(trace: TracebackType | None) -> bool:
    """Tell whether an error arose while Lightning took a checkpoint over.

    In public the errors of ``Trainer.fit`` are all alike, and no hook lies behind the last thing
    that is restored.

    Args:
        trace: of the error.
    """
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == checkpoint_connector.__file__:
            return True
        trace = trace.tb_next
    return False
