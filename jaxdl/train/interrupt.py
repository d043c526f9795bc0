"""Ctrl-C and SIGTERM that lose nothing: the engine stops at the end of the program that runs."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether Ctrl-C was pressed, and whether the process was asked to end."""

    pressed = False
    terminated = False


@contextmanager
def catch_interrupt(terminate: bool = False) -> Iterator[Interrupt]:
    """Within it, the first Ctrl-C is noted in the object it gives; a second one interrupts as ever.

    Outside of the main thread, where Python delivers no signals, it does nothing. A signal that is ignored stays
    ignored, as Ctrl-C is in what a shell script starts with ``&``.

    **Args** ``terminate``: note SIGTERM as well, which otherwise ends the process at once.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def note(number: int, frame: FrameType | None) -> None:
        if interrupt.pressed and number == signal.SIGINT:
            raise KeyboardInterrupt
        interrupt.pressed = True
        interrupt.terminated = interrupt.terminated or number == signal.SIGTERM

    signals = [signal.SIGINT, signal.SIGTERM] if terminate else [signal.SIGINT]
    before = {number: signal.signal(number, note) for number in signals if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default if handler is None else handler)
