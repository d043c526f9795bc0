"""The order of the examples of an epoch: a pure function of (seed, epoch), made on the host."""

import numpy as np


def epoch_order(count: int, *, seed: int, epoch: int, shuffle: bool = True) -> np.ndarray:
    """The indices 0 … count − 1 in the order of that epoch, as ``int32``.

    Drawn with NumPy's counter-based Philox generator, keyed with seed and epoch: the same on every machine and with any
    number of processes.

    Example:
        >>> epoch_order(5, seed=0, epoch=0).tolist() == epoch_order(5, seed=0, epoch=0).tolist()
        True
        >>> epoch_order(3, seed=0, epoch=0, shuffle=False).tolist()
        [0, 1, 2]
    """
    if not shuffle:
        return np.arange(count, dtype=np.int32)
    key = np.array([seed, epoch], np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).permutation(count).astype(np.int32)
