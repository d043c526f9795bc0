"""The IDX format of the MNIST family, read with care: nothing is allocated before its size is known and allowed."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from jaxdl.core import bad_value

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = 1 << 30) -> np.ndarray:
    """The array in an IDX file, plain or gzip (by its first bytes, whatever its name).

    The header is read first: two zero bytes, a byte for the type, a byte for the number of axes, then a big-endian
    ``uint32`` for each. What follows must be just as long as they say.

    **Args** ``max_bytes``: the most that the array may hold, so that a small file cannot expand without bound.

    **Raises** ``ValueError`` for a file that is no IDX file, truncated, too long, damaged, or larger than
    ``max_bytes``.

    **References** LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998 (the format's description).
    """
    path = Path(path)
    call = f"read_idx({str(path)!r})"
    with path.open("rb") as plain:
        zipped = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        try:
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=plain)) if zipped else plain
            return _read(call, stream, max_bytes)
        except EOFError:
            raise bad_value(call, "the gzip stream must be whole", "one that is truncated") from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise bad_value(call, "the gzip stream must be sound", f"a damaged one ({error})") from None


def _read(call: str, stream: BinaryIO, max_bytes: int) -> np.ndarray:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        needs = "the file must begin with two zero bytes, a known type and 1 or more axes"
        raise bad_value(call, needs, f"first bytes {magic.hex(' ') or 'none'}")
    dtype = np.dtype(_DTYPES[magic[2]])
    header = stream.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise bad_value(call, f"the header must give {magic[3]} sizes", "one that is truncated")
    shape = struct.unpack(f">{magic[3]}I", header)
    size = math.prod(shape) * dtype.itemsize
    if size > max_bytes:
        raise bad_value(call, f"the array must hold at most max_bytes={max_bytes}", f"shape {shape}, {size} bytes")
    body = bytearray()
    while len(body) <= size and (block := stream.read(min(1 << 20, size + 1 - len(body)))):
        body += block
    if len(body) != size:
        found = f"{len(body)}, it is truncated" if len(body) < size else "more"
        raise bad_value(call, f"{size} bytes must follow the header of shape {shape}", found)
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="))
