"""Reading ahead: a thread fills a short queue while the device computes."""

import queue
import threading
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, nullcontext
from typing import TypeVar

T = TypeVar("T")
_END = object()

PATIENCE = 1.0
"""Seconds that the end of a run waits for a reader in the middle of an item."""


def prefetch(items: Iterable[T], ahead: int = 1) -> Generator[T, None, None]:
    """The items, produced by a thread that stays up to ``ahead`` finished ones before the consumer.

    With one ahead and one in the making, reading is double-buffered. An error of the producer is raised here. When the
    consumer closes the generator, the thread ends with the item it is at, and closes ``items`` if they are a generator.
    One that is blocked is left behind, with a warning; it is a daemon, so it does not keep the process alive.

    Example:
        >>> list(prefetch(x * x for x in range(4)))
        [0, 1, 4, 9]
    """
    ready: queue.Queue[object] = queue.Queue(maxsize=ahead)
    closed = threading.Event()
    failure: list[BaseException] = []

    def put(item: object) -> bool:
        while not closed.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def produce(iterator: Iterator[T]) -> None:
        try:
            with closing(iterator) if isinstance(iterator, Generator) else nullcontext():
                for item in iterator:
                    if not put(item):
                        break
        except BaseException as error:  # raised again in the consumer
            failure.append(error)
        put(_END)

    thread = threading.Thread(target=produce, args=(iter(items),), name="jaxdl-prefetch", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            yield item  # type: ignore[misc]
        if failure:
            raise failure[0]
    finally:
        closed.set()
        thread.join(timeout=PATIENCE)
        if thread.is_alive():
            text = "jaxdl: the data are still being read: the thread is left behind, and ends with the item it is at"
            warnings.warn(text, stacklevel=2)
