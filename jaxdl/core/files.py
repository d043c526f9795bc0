"""Files that appear whole or not at all, and what tells that their numbers are the ones that were saved."""

import hashlib
import os
from collections.abc import Iterator
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


def digest_of_text(text: str) -> str:
    """The like of a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
