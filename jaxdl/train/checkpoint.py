"""Checkpoints: where a run is saved, how often, and what of it is kept; and the store that writes and reads them.

A checkpoint holds the train state and the position: epoch, step, seed, history and the sums of the epoch at hand. Orbax
writes the arrays; a digest of each is kept beside them, since flipped bits in a data file may read as numbers.
"""

import hashlib
import os
import shutil
import warnings
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import bad_value
from jaxdl.core.checks import positive_int
from jaxdl.core.extras import need

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """Where a run is saved, when, and what is kept; ``fit(…, checkpoint="folder")`` is ``Checkpoint("folder")``.

    A run is saved at the end of the program at which it is due, at the end of the run, and on Ctrl-C and SIGTERM.
    Writing goes on beside the training, from a copy; a checkpoint appears whole or not at all.

    **Args** ``folder``: of one run; jaxdl keeps to the subfolders ``checkpoint_…`` in it. ``every_seconds``,
    ``every_steps``: how long after the last save the next is due; a program is cut short to save just at
    ``every_steps``. ``keep``: how many of the latest stay. ``best``: a column of the history, such as
    ``"validation_accuracy"``; the run is then saved after each epoch, and the best one stays as well. ``mode``:
    whether the greatest (``"max"``) or the least (``"min"``) is the best.

    Example:
        >>> Checkpoint("runs/a", best="validation_loss", mode="min").keep
        2
    """

    folder: str | os.PathLike[str]
    every_seconds: float = 60.0
    every_steps: int | None = None
    keep: int = 2
    best: str | None = None
    mode: Literal["max", "min"] = "max"

    def __post_init__(self) -> None:
        positive_int("Checkpoint", "keep", self.keep)
        if self.every_steps is not None:
            positive_int("Checkpoint", "every_steps", self.every_steps)
        if not self.every_seconds > 0:
            raise bad_value("Checkpoint", "every_seconds must be positive", self.every_seconds)
        if self.mode not in ("max", "min"):
            raise bad_value("Checkpoint", 'mode must be "max" or "min"', repr(self.mode))


class Store:
    """The checkpoints in a folder. ``save`` copies and returns; a thread writes. Its errors come with the next call."""

    def __init__(self, settings: Checkpoint):
        ocp = need("orbax.checkpoint", "checkpoint", extra="checkpoint")
        self.args = ocp.args
        self.folder = Path(settings.folder).absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # What a run left that was killed while it wrote.
            for left in self.folder.glob("checkpoint_*.orbax-checkpoint-tmp*"):
                shutil.rmtree(left)
            managers = ocp.checkpoint_managers
            kept = [managers.LatestN(settings.keep)]
            if settings.best is not None:
                kept.append(
                    managers.BestN(
                        get_metric_fn=lambda metrics: metrics["best"],
                        n=1,
                        reverse=settings.mode == "min",
                        keep_checkpoints_without_metrics=False,
                    )
                )
            self.manager = ocp.CheckpointManager(
                self.folder,
                options=ocp.CheckpointManagerOptions(
                    step_prefix="checkpoint",
                    enable_async_checkpointing=False,  # the thread below is what does not keep the training waiting
                    preservation_policy=managers.AnyPreservationPolicy(kept),
                ),
            )
        except OSError as error:
            raise self._failed(error) from error
        self.beside = ThreadPoolExecutor(1)
        self.writing: Future[None] | None = None

    def _failed(self, error: Exception) -> OSError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        earlier = f"checkpoint_{self.numbers()[-1]} is sound" if self.numbers() else "there is none before it"
        return OSError(f"checkpoint: could not write to {self.folder}: {reason}; {earlier}")

    def numbers(self) -> list[int]:
        """The numbers of the checkpoints that are whole, in order."""
        return sorted(self.manager.all_steps()) if hasattr(self, "manager") else []

    @property
    def busy(self) -> bool:
        """Whether the last save is still being written."""
        return self.writing is not None and not self.writing.done()

    def save(self, number: int, tree: Any, position: dict[str, Any], best: float | None = None) -> None:
        """Copy the tree, and have it written beside; waits for the save before."""
        self.wait()
        leaves = {path: _host(leaf) for path, leaf in _named(tree).items()}
        self.writing = self.beside.submit(self._write, number, leaves, position, best)

    def _write(self, number: int, leaves: dict[str, tuple[np.ndarray, str]], position: Any, best: float | None) -> None:
        described = {
            path: {"shape": list(array.shape), "dtype": kind, "digest": _digest(array)}
            for path, (array, kind) in leaves.items()
        }
        arrays = {path: array for path, (array, _) in leaves.items() if array.size}  # Orbax writes no empty arrays.
        items = self.args.Composite(
            state=self.args.StandardSave(arrays),
            position=self.args.JsonSave({"format": FORMAT, "leaves": described, **position}),
        )
        try:
            self.manager.save(number, args=items, metrics=None if best is None else {"best": best}, force=True)
        except Exception as error:
            raise self._failed(error) from error

    def wait(self) -> None:
        """Wait for what is being written, and raise what went wrong with it."""
        if self.writing is not None:
            writing, self.writing = self.writing, None
            writing.result()

    def close(self) -> None:
        """Wait, and let go of the folder."""
        try:
            self.wait()
        finally:
            self.beside.shutdown()
            self.manager.close()

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """The newest sound checkpoint as a tree like ``like`` and its position; None where there is none.

        A damaged one is reported with a warning, and the one before it is taken; the damaged ones are then renamed to
        ``damaged_checkpoint_…``, since the run will come to their numbers again.

        **Raises** ``ValueError`` when its leaves are others than those of ``like``, by path with both sides;
        ``OSError`` when all are damaged.
        """
        here = _named(like)
        damaged: dict[int, str] = {}
        for number in reversed(self.numbers()):
            try:
                position = self._read_position(number)
                leaves = position.pop("leaves")
                _check_leaves(self.folder, number, leaves, here)
                arrays = self._read_arrays(number, leaves)
            except _OtherTreeError as error:
                raise error.args[0] from None
            except Exception as error:  # whatever a damaged file makes Orbax raise
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                damaged[number] = f"checkpoint_{number}: {reason}"
                warnings.warn(f"checkpoint: {self.folder}, {damaged[number]}; taking the one before it", stacklevel=2)
                continue
            self._set_aside(damaged)
            return _filled(like, here, arrays), position
        if damaged:
            raise OSError(f"checkpoint: no sound checkpoint in {self.folder}: {'; '.join(damaged.values())}")
        return None

    def _set_aside(self, numbers: Collection[int]) -> None:
        for number in numbers:
            (self.folder / f"checkpoint_{number}").rename(self.folder / f"damaged_checkpoint_{number}")
        if numbers:
            self.manager.reload()

    def _read_position(self, number: int) -> dict[str, Any]:
        position = self.manager.restore(number, args=self.args.Composite(position=self.args.JsonRestore())).position
        if position["format"] != FORMAT:
            raise bad_value("checkpoint", f"the format must be {FORMAT}", position["format"])
        return position

    def _read_arrays(self, number: int, leaves: dict[str, Any]) -> dict[str, np.ndarray]:
        empty = {path: np.zeros(leaf["shape"], _stored_dtype(leaf["dtype"])) for path, leaf in leaves.items()}
        target = {path: array for path, array in empty.items() if array.size}
        items = self.args.Composite(state=self.args.StandardRestore(target))
        arrays = {**empty, **self.manager.restore(number, args=items).state}
        for path, leaf in leaves.items():
            if _digest(arrays[path]) != leaf["digest"]:
                raise bad_value("checkpoint", f"{path} must have the digest that was saved", "other bits")
        return arrays


class _OtherTreeError(Exception):
    """Holds the error of a sound checkpoint that belongs to another model."""


def _named(tree: Any) -> dict[str, Any]:
    leaves = jax.tree.leaves_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    if len(named) != len(leaves):
        raise bad_value("checkpoint", "the paths of the train state's leaves must differ", f"{len(leaves)} leaves")
    return named


def _host(leaf: Any) -> tuple[np.ndarray, str]:
    """A copy of a leaf on the host, and its dtype's name; a key as its data."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return np.array(jax.random.key_data(leaf)), str(leaf.dtype)
    return np.array(leaf), str(leaf.dtype)


def _stored_dtype(kind: str) -> Any:
    return np.uint32 if kind.startswith("key<") else jnp.dtype(kind)


def _digest(array: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()


def _check_leaves(folder: Path, number: int, leaves: dict[str, Any], named: dict[str, Any]) -> None:
    here = {path: _kind(leaf) for path, leaf in named.items()}
    there = {path: f"{leaf['dtype']}{leaf['shape']}" for path, leaf in leaves.items()}
    lines = [
        f"  {path}: {there.get(path, 'nothing')} in the checkpoint, {here.get(path, 'nothing')} in the train state"
        for path in dict.fromkeys([*here, *there])
        if here.get(path) != there.get(path)
    ]
    if lines:
        needs = f"{folder}/checkpoint_{number} must hold the train state of this run"
        raise _OtherTreeError(bad_value("checkpoint", needs, f"{len(lines)} leaves that differ:\n" + "\n".join(lines)))


def _kind(leaf: Any) -> str:
    shape = (
        jax.eval_shape(jax.random.key_data, leaf).shape
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else leaf.shape
    )
    return f"{leaf.dtype}{list(shape)}"


def _filled(like: Any, named: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    def fill(path: str, leaf: Any) -> jax.Array:
        array = jnp.asarray(arrays[path])
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf))
        return array

    return jax.tree.unflatten(jax.tree.structure(like), [fill(path, leaf) for path, leaf in named.items()])
