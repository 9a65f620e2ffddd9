"""Stopping a training from outside: SIGTERM and Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(KeyboardInterrupt):
    """A training was told to stop, and wrote a checkpoint; `signal` says by which signal."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.signal = number


class Stop:
    """Whether a signal came; `number` is 0 until then."""

    number = 0


@contextmanager
def signals() -> Iterator[Stop]:
    """Note the first SIGTERM or SIGINT instead of dying of it; a second one acts as ever.

    Python lets only the main thread handle signals: elsewhere nothing is noted.
    """
    stop = Stop()
    before = {}

    def restore() -> None:
        while before:
            signal.signal(*before.popitem())

    def note(number, frame) -> None:
        stop.number = number
        restore()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, note)
    try:
        yield stop
    finally:
        restore()
