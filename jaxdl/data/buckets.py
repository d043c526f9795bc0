"""Batches of sequences of like length."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxdl.core import Ragged, bad_type, bad_value
from jaxdl.core.checks import check_seed, is_int, positive_int
from jaxdl.data.order import epoch_order
from jaxdl.data.text import pad_sequences


class Buckets:
    """What :func:`buckets` gives: ``(epoch, start) ->`` the batches of that epoch from the one of that number on.

    **Fields** ``lengths``: the sizes of the time axis; ``kinds``: of how many shapes the batches are; ``len()``: the
    batches of an epoch.
    """

    def __init__(self, data: dict[str, Any], lengths: tuple[int, ...], home: np.ndarray, size: int, **order: Any):
        self.data, self.lengths, self.home, self.size = data, lengths, home, size
        self.order: dict[str, Any] = order
        self.kinds = len({(bucket, len(rows)) for bucket, rows in self._plan(0)})

    def __len__(self) -> int:
        return len(self._plan(0))

    def __call__(self, epoch: int, start: int = 0) -> Iterator[dict[str, Any]]:
        for bucket, rows in self._plan(epoch)[start:]:
            yield {name: _batch(column, rows, self.lengths[bucket]) for name, column in self.data.items()}

    def _plan(self, epoch: int) -> list[tuple[int, np.ndarray]]:
        """The bucket and the examples of each batch, in the order of that epoch."""
        seed, shuffle, drop = (self.order[name] for name in ("seed", "shuffle", "drop"))
        order = epoch_order(len(self.home), seed=seed, epoch=epoch, shuffle=shuffle)
        batches: list[tuple[int, np.ndarray]] = []
        for bucket in range(len(self.lengths)):
            rows = order[self.home[order] == bucket]
            pieces = [rows[at : at + self.size] for at in range(0, len(rows), self.size)]
            batches += [(bucket, piece) for piece in pieces if not drop or len(piece) == self.size]
        return [batches[at] for at in epoch_order(len(batches), seed=seed, epoch=epoch, shuffle=shuffle)]


def buckets(
    data: Any,
    batch_size: int,
    *,
    lengths: int | Sequence[int] = 4,
    seed: int = 0,
    shuffle: bool = True,
    remainder: str = "train",
) -> Buckets:
    """Batches of sequences of like length, padded to one of a few sizes: little padding, and few programs.

    A callable ``(epoch, start)`` as :func:`jaxdl.fit` takes it (without ``batch_size``), and resumes from it exactly:
    the examples of a batch and the order of the batches are a function of the seed and the epoch. Each size of the time
    axis is a program of its own, and so is each smaller last batch of a bucket, unless it is dropped.

    **Args** ``data``: ``{"x": sequences, "y": …}``, with ``"weight"`` or without, or ``(x, y)``. A list is of sequences
    ``(time_i, …)``, one an example, and becomes a :class:`jaxdl.Ragged`; an array has its examples along the first
    axis. If there are several lists, the sequences of an example are as long as each other. ``lengths``: the sizes of
    the time axis, ascending, or how many there shall be, so that each holds about as many examples. ``remainder``:
    ``"train"`` on the smaller last batch of a bucket, or ``"drop"`` it.

    **Raises** ``ValueError`` for a sequence that no size holds, columns of unequal length, or none that is a list.

    Example:
        >>> words = [[1, 2, 3], [4], [5, 6], [7, 8, 9, 1, 2, 3, 4]]
        >>> batches = buckets({"x": words, "y": np.array([0, 1, 0, 1])}, 2, lengths=(3, 8), shuffle=False)
        >>> for batch in batches(epoch=0):
        ...     print(batch["x"].x.shape, batch["x"].lengths, batch["y"])
        (2, 3) [3 1] [0 1]
        (1, 3) [2] [0]
        (1, 8) [7] [1]

    **References** Khomenko, Shyshkov, Radyvonenko and Bokhan, Accelerating recurrent neural network training using
    sequence bucketing and multi-GPU data parallelization, 2016.
    """
    call = "buckets"
    positive_int(call, "batch_size", batch_size)
    if remainder not in ("train", "drop"):
        raise bad_value(call, 'remainder must be "train" or "drop"', repr(remainder))
    if isinstance(data, tuple) and len(data) == 2:
        data = {"x": data[0], "y": data[1]}
    if not isinstance(data, Mapping):
        raise bad_type(call, "data must be {'x': sequences, 'y': …} or (x, y)", data)
    columns = {name: _column(call, name, column) for name, column in data.items()}
    times = _times(call, columns)
    sizes = _sizes(call, lengths, times)
    order = {"seed": check_seed(call, seed), "shuffle": shuffle, "drop": remainder == "drop"}
    found = Buckets(columns, sizes, np.searchsorted(sizes, times), batch_size, **order)
    if not len(found):
        needs = "a bucket must hold a whole batch, where smaller ones are dropped"
        raise bad_value(call, needs, f"batch_size={batch_size} for {len(times)} examples")
    return found


def _column(call: str, name: str, column: Any) -> Any:
    """A column as a list of sequences, or as an array."""
    if isinstance(column, Ragged):
        return [row[:length] for row, length in zip(np.asarray(column.x), np.asarray(column.lengths), strict=True)]
    if isinstance(column, list):
        arrays = [np.asarray(sequence) for sequence in column]
        single = [row for row, array in enumerate(arrays) if array.ndim == 0]
        if single:
            hint = "Did you mean np.asarray(…), for a number an example?"
            raise bad_value(
                call, f"a list must be of sequences, {name!r} here", f"a number in example {single[0]}", hint
            )
        return arrays
    if not getattr(column, "shape", ()):
        raise bad_type(call, f"{name!r} must be a list of sequences, a Ragged or an array", column)
    return column


def _times(call: str, columns: dict[str, Any]) -> np.ndarray:
    """The length of each example's sequences."""
    counts = {name: len(column) for name, column in columns.items()}
    if len(set(counts.values())) != 1 or not next(iter(counts.values())):
        raise bad_value(call, "all columns must have the same number of examples, one at least", f"{counts}")
    lists = {name: [len(row) for row in column] for name, column in columns.items() if isinstance(column, list)}
    if not lists:
        raise bad_value(call, "one column must be a list of sequences, or a Ragged", f"arrays: {', '.join(columns)}")
    first, *others = lists
    for name in others:
        for row, (mine, its) in enumerate(zip(lists[first], lists[name], strict=True)):
            if mine != its:
                needs = f"{first!r} and {name!r} of an example must be as long as each other"
                raise bad_value(call, needs, f"{mine} and {its} in example {row}")
    return np.array(lists[first])


def _sizes(call: str, lengths: int | Sequence[int], times: np.ndarray) -> tuple[int, ...]:
    """The sizes of the time axis, ascending."""
    if is_int(lengths):
        count = positive_int(call, "lengths", lengths)
        shares = np.quantile(times, np.arange(1, count + 1) / count, method="inverted_cdf")
        return tuple(np.unique(np.maximum(shares, 1)).tolist())
    sizes = tuple(positive_int(call, "lengths", size) for size in lengths) if isinstance(lengths, Sequence) else ()
    if not sizes or any(low >= high for low, high in itertools.pairwise(sizes)):
        raise bad_value(call, "lengths must be ascending ints, or one int, how many there shall be", repr(lengths))
    if times.max() > sizes[-1]:
        row = int(times.argmax())
        hint = "Did you mean to cut it, or to give a larger one?"
        raise bad_value(
            call, f"the last of lengths, {sizes[-1]}, must hold all", f"{times[row]} in example {row}", hint
        )
    return sizes


def _batch(column: Any, rows: np.ndarray, size: int) -> Any:
    return pad_sequences([column[row] for row in rows], length=size) if isinstance(column, list) else column[rows]
