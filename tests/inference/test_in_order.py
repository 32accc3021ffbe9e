import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from fcos_lightning.errors import UserError
from fcos_lightning.inference.in_order import from_thread, in_order, thread_count


def test_results_keep_the_order_of_their_items_whatever_finishes_first() -> None:
    gates = [threading.Event() for _ in range(3)]

    def work(number: int) -> int:
        if number < 3:
            assert gates[number].wait(30)
            if number:
                gates[number - 1].set()  # the later ones finish first
        return number * number

    gates[2].set()
    assert list(in_order(work, range(20), threads=3, ahead=4)) == [n * n for n in range(20)]
    assert list(in_order(work, [], threads=3, ahead=4)) == []


@pytest.mark.parametrize(("threads", "ahead"), [(1, 0), (2, 3), (4, 9)])
def test_no_more_is_taken_ahead_than_said(threads: int, ahead: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    with closing(in_order(lambda one: one, items(), threads, ahead)) as results:
        for given in range(1, 30):
            assert next(results) == given
            assert taken == given + ahead


def test_an_error_comes_in_its_turn_and_what_has_begun_is_waited_for() -> None:
    done: list[int] = []

    def work(number: int) -> int:
        if number == 2:
            raise UserError("the third")
        time.sleep(0.01)
        done.append(number)
        return number

    results = in_order(work, range(1000), threads=2, ahead=5)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(UserError, match="the third"):
        next(results)
    after = list(done)
    time.sleep(0.1)
    assert done == after and len(done) < 12


def test_closing_leaves_no_thread_at_work() -> None:
    running = 0
    lock = threading.Lock()

    def work(number: int) -> int:
        nonlocal running
        with lock:
            running += 1
        time.sleep(0.05)
        with lock:
            running -= 1
        return number

    results = in_order(work, range(1000), threads=2, ahead=5)
    next(results)
    results.close()
    assert running == 0
    before = {thread for thread in threading.enumerate() if thread.name.startswith("images")}
    assert not before


def test_a_thread_of_its_own_takes_items_few_ahead_and_closes_them() -> None:
    taken, closed, threads = 0, threading.Event(), set()

    def items() -> Iterator[int]:
        nonlocal taken
        try:
            while True:
                threads.add(threading.get_ident())
                taken += 1
                yield taken
        finally:
            closed.set()

    with closing(from_thread(items(), ahead=2)) as walk:
        assert [next(walk) for _ in range(50)] == list(range(1, 51))
        assert 50 <= taken <= 50 + 4
    assert closed.is_set() and threading.get_ident() not in threads

    def failing() -> Iterator[int]:
        yield 1
        raise UserError("no more")

    walk = from_thread(failing(), ahead=2)
    assert next(walk) == 1
    with pytest.raises(UserError, match="no more"):
        next(walk)
    assert list(from_thread([1, 2, 3], ahead=1)) == [1, 2, 3]
    assert thread_count() >= 1
