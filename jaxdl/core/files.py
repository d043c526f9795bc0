"""Files that appear whole or not at all, and what tells that their numbers are the ones that were saved."""

import functools
import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place beside ``path`` to write to; it takes the name when the block ends well, and goes when it fails."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())  # else a machine that goes down may keep the name and lose the numbers
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def digest(array: np.ndarray) -> str:
    """A digest of an array's dtype, shape and numbers: one bit changed, and it is another."""
    found = hashlib.blake2b(f"{array.dtype}{list(array.shape)}".encode(), digest_size=16)
    found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


_MIX = tuple(map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)))
_BLOCK = 1 << 17


def digest_of_part(part: np.ndarray, start: Sequence[int] = (), shape: Sequence[int] | None = None) -> int:
    """What a part of an array, from ``start`` on, adds to the digest of the whole, of that shape: 64 bits.

    The parts' sum, modulo 2⁶⁴, is that of the whole, however it is cut: of each entry its bits and its place in the
    whole are mixed, one bit changed to others, and added up. So each process can look at what it holds alone.
    """
    if part.dtype.kind == "c":
        halves = np.stack([part.real, part.imag], -1)
        return digest_of_part(halves, (*start, 0) if start else (), None if shape is None else (*shape, 2))
    if not part.ndim:
        return digest_of_part(part[None])
    bits = np.ascontiguousarray(part).view(f"u{part.dtype.itemsize}")
    strides = [math.prod((shape or part.shape)[axis + 1 :]) for axis in range(part.ndim)]
    along = [
        (np.arange(size, dtype=np.uint64) + np.uint64(first)) * np.uint64(stride)
        for size, first, stride in zip(part.shape, start or (0,) * part.ndim, strides, strict=True)
    ]
    row = functools.reduce(np.add.outer, along[1:], np.zeros((), np.uint64))
    rows, total = max(1, _BLOCK // max(1, row.size)), 0
    for at in range(0, len(bits), rows):
        mixed = np.add.outer(along[0][at : at + rows], row) * _MIX[0]
        mixed += bits[at : at + rows] * _MIX[1]
        for shift in (31, 29):
            mixed ^= mixed >> np.uint64(shift)
            mixed *= _MIX[2]
        total += int((mixed ^ (mixed >> np.uint64(32))).sum(dtype=np.uint64))
    return total % 2**64


def digest_of_text(text: str) -> str:
    """The like of a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
