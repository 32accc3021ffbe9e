import threading

import pytest

from fcos_lightning.training.loggers.writer_threads import writers_fail_once


class Writer(threading.Thread):
    """As TensorBoard's: it keeps its error, and raises it too."""

    exception: Exception | None = None

    def __init__(self, keeps: bool) -> None:
        super().__init__()
        self.keeps = keeps

    def run(self) -> None:
        error = OSError("no space")
        if self.keeps:
            self.exception = error
        raise error


def test_what_a_writer_keeps_for_the_run_is_not_printed_beside_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    for keeps in (True, False):
        with writers_fail_once():
            thread = Writer(keeps)
            thread.start()
            thread.join()
        assert len(told) == (0 if keeps else 1)
    assert threading.excepthook == told.append


def test_tensorboards_thread_still_keeps_it() -> None:
    from tensorboard.summary.writer.event_file_writer import _AsyncWriterThread

    class Full:
        def write(self, data: bytes) -> None:
            raise OSError("no space")

    import queue

    waiting: queue.Queue[bytes] = queue.Queue()
    waiting.put(b"some")
    thread = _AsyncWriterThread(waiting, Full(), 1)
    with writers_fail_once():
        thread.start()
        thread.join(10)
    assert isinstance(thread.exception, OSError)
