import os
import signal
import time

import pytest

from fcos_lightning.signals import heed_parent_only


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the system does not name senders")
def test_a_loader_process_heeds_its_parent_alone() -> None:
    child = os.fork()
    if child == 0:
        heed_parent_only()
        other = os.fork()
        if other == 0:  # not the parent
            time.sleep(0.2)
            for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
                os.kill(os.getppid(), getattr(signal, name))
            os._exit(0)
        time.sleep(30)
        os._exit(5)
    time.sleep(0.8)
    assert os.waitpid(child, os.WNOHANG) == (0, 0)  # still there
    os.kill(child, signal.SIGTERM)
    until = time.monotonic() + 10
    status = (0, 0)
    while status == (0, 0) and time.monotonic() < until:
        time.sleep(0.05)
        status = os.waitpid(child, os.WNOHANG)
    assert status == (child, 0)
