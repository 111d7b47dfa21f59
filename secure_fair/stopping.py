"""A stop that somebody has asked for by Ctrl-C or TERM, remembered until the command has ended.

The signal interrupts the program wherever it is. A library that is reading a file just then may make an error of its
own of the interrupt; so what comes of a stop is known by the stop, not by the error. Where a library would break for
good, the stop is put off until it has returned.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PUT_OFF_SECONDS = 1.0
"""How long a stop waits for a library to return; one that waits itself may be interrupted."""

_asked = threading.Event()
_held = 0  # blocks in the main thread that a stop is put off for, each within the one before
_again: threading.Timer | None = None  # of a stop that was put off


@contextmanager
def stops_heeded() -> Iterator[None]:
    """Both signals raise KeyboardInterrupt in the block, and any error after one leaves it as KeyboardInterrupt.

    A Ctrl-C that is ignored, as in a shell's background, stays so. In another thread than the main one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [number for number in (signal.SIGINT, signal.SIGTERM) if _is_heeded(number)]
    before = {number: signal.signal(number, _interrupt) for number in heeded}
    try:
        yield
    except Exception as error:
        if _asked.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.clear()


@contextmanager
def stops_put_off() -> Iterator[None]:
    """A stop in the block is raised at its end, or when the block has gone on for ``PUT_OFF_SECONDS`` after it.

    In another thread than the main one nothing changes.
    """
    global _held, _again
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _held += 1
    try:
        yield
    finally:
        _held -= 1
        if _again is not None and not _held:
            _again.cancel()
            _again = None
            raise KeyboardInterrupt


def cause(error: BaseException) -> BaseException:
    """The error, or the stop that it comes of."""
    return KeyboardInterrupt() if _asked.is_set() else error


def _is_heeded(number: signal.Signals) -> bool:
    return number is signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _again
    _asked.set()
    if _held and _again is None:
        main = threading.main_thread().ident
        assert main is not None
        _again = threading.Timer(PUT_OFF_SECONDS, signal.pthread_kill, (main, number))
        _again.daemon = True
        _again.start()
        return
    if _again is not None:
        _again.cancel()
        _again = None
    raise KeyboardInterrupt
