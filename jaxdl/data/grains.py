"""Data sets of Grain: batches made by its threads and worker processes."""

import itertools
from collections.abc import Iterator
from typing import Any

from jaxdl.core import bad_type, bad_value
from jaxdl.core.checks import is_int
from jaxdl.core.extras import need


class GrainBatches:
    """What :func:`from_grain` gives: ``(epoch, start) ->`` the batches of that epoch from the one of that number on."""

    def __init__(self, data: Any, workers: int):
        self.data, self.workers = data, workers

    def __call__(self, epoch: int, start: int = 0) -> Iterator[Any]:
        grain = need("grain", "data.from_grain", extra="data")
        each = callable(self.data)
        data = self.data(epoch) if each else self.data
        _check(grain, data)
        if not isinstance(data, grain.MapDataset):
            return itertools.islice(iter(data), start, None)
        count = len(data)
        # Repeated, it is shuffled anew for each epoch; and any batch of any epoch is found by its number.
        first = 0 if each else epoch * count
        whole = data if each else data.repeat(epoch + 1)
        return self._read(grain, whole[first + start : first + count])

    def _read(self, grain: Any, data: Any) -> Iterator[Any]:
        batches = data.to_iter_dataset()
        if self.workers:
            flags = need("absl.flags", "data.from_grain", extra="data").FLAGS
            if not flags.is_parsed():
                flags.mark_as_parsed()  # Grain's workers read flags, which only a program of absl's parses.
            batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=self.workers))
        iterator = iter(batches)
        try:
            yield from iterator
        finally:
            if hasattr(iterator, "close"):
                iterator.close()


def from_grain(data: Any, *, workers: int = 0) -> GrainBatches:
    """Batches of a Grain data set, as :func:`jaxdl.fit` takes them (without ``batch_size``), and resumes from exactly.

    A ``grain.MapDataset`` of single examples needs no adapter: it has ``len()`` and ``[index]``, and is shuffled and
    resumed as any source. This is for one that makes batches itself, with transformations in worker processes: after
    ``.batch(n)``. A part that was read before a resume is not read again, and a ``.seed(s).shuffle()`` within gives
    each epoch an order of its own.

    A ``grain.IterDataset`` or ``grain.DataLoader`` of batches works as well; it comes in the same order each epoch, and
    a resume reads again what lies before. A function ``epoch ->`` data set makes it anew for each epoch.

    **Args** ``data``: a ``grain.MapDataset``, ``grain.IterDataset`` or ``grain.DataLoader`` whose elements are batches,
    or a function of the number of the epoch that gives one. ``workers``: processes that make the batches of a
    ``MapDataset``; 0 for threads of this process.

    **Raises** ``ImportError`` without Grain; ``TypeError`` for what is none of these; ``ValueError`` for a data set
    that repeats without end, or has no batch.

    Example:
        >>> import grain  # doctest: +SKIP
        >>> examples = grain.MapDataset.range(10).map(lambda i: {"x": np.full(2, i), "y": i})  # doctest: +SKIP
        >>> batches = from_grain(examples.seed(0).shuffle().batch(4), workers=2)  # doctest: +SKIP
        >>> dl.fit(model, batches, loss=…, optimizer=…, epochs=3, checkpoint="run", resume=True)  # doctest: +SKIP
    """
    if not is_int(workers) or workers < 0:
        raise bad_value("from_grain", "workers must be an int of 0 or more", workers)
    grain = need("grain", "data.from_grain", extra="data")
    if not (callable(data) and not isinstance(data, grain.MapDataset | grain.IterDataset | grain.DataLoader)):
        _check(grain, data)
    return GrainBatches(data, int(workers))


def _check(grain: Any, data: Any) -> None:
    """Raise for what gives no batches, or has no end."""
    if not isinstance(data, grain.MapDataset | grain.IterDataset | grain.DataLoader):
        needs = "data must be a grain.MapDataset, grain.IterDataset or grain.DataLoader of batches"
        raise bad_type("from_grain", needs, data)
    if isinstance(data, grain.MapDataset) and not 0 < len(data) < 2**48:
        needs = "the data set must end after one epoch, which fit counts, and have a batch"
        raise bad_value("from_grain", needs, f"{len(data)} batches", "Did you mean it without .repeat()?")
