"""Checkpoints: where a run is saved, how often, and what of it is kept; and the store that writes and reads them.

A checkpoint holds the train state and the position: epoch, step, seed, history and the sums of the epoch at hand. Orbax
writes the arrays; a digest of each, and of the position, is kept beside them, since flipped bits in a data file may
read as numbers. What is saved are whole arrays, so that they can be restored onto any number of devices.
"""

import json
import math
import os
import re
import textwrap
import warnings
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any, Literal, TypeVar

import jax
import numpy as np

from jaxdl.core import bad_type, bad_value
from jaxdl.core.checks import positive_int
from jaxdl.core.extras import need
from jaxdl.core.files import digest_of_part, digest_of_text
from jaxdl.train.folder import clear_unfinished, free_place, open_folder, run_folder, saved_numbers
from jaxdl.train.saved import differing, filled, host_copy, named_leaves, stored_dtype

FORMAT = 2
T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """Where a run is saved, when, and what is kept; ``fit(…, checkpoint="folder")`` is ``Checkpoint("folder")``.

    A run is saved at the end of the program at which it is due, at the end of the run, and on Ctrl-C and SIGTERM.
    Writing goes on beside the training, from a copy; a checkpoint appears whole or not at all.

    **Args** ``folder``: of one run; jaxdl keeps to the subfolders ``checkpoint_…`` that it made, and to a file
    ``jaxdl.lock`` that keeps a second run out of it. ``every_seconds``,
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
        if not isinstance(self.folder, str | os.PathLike):
            raise bad_type("Checkpoint", "folder must be a path", self.folder)
        positive_int("Checkpoint", "keep", self.keep)
        if self.every_steps is not None:
            positive_int("Checkpoint", "every_steps", self.every_steps)
        if not self.every_seconds > 0:
            raise bad_value("Checkpoint", "every_seconds must be positive", self.every_seconds)
        if self.mode not in ("max", "min"):
            raise bad_value("Checkpoint", 'mode must be "max" or "min"', repr(self.mode))


@dataclass
class Kept:
    """Which checkpoints stay, as Orbax asks for it: the latest, and the number ``best``."""

    latest: int
    best: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        numbers = [checkpoint.step for checkpoint in checkpoints]
        stay = {*sorted(numbers)[-self.latest :], self.best}
        return [number in stay for number in numbers]


class Store:
    """The checkpoints in a folder. ``save`` copies and returns; a thread writes. Its errors come with the next call."""

    def __init__(self, settings: Checkpoint):
        self._check_processes()
        ocp = need("orbax.checkpoint", "checkpoint", extra="checkpoint")
        self.args = ocp.args
        self.kept = Kept(settings.keep)
        self.folder = run_folder(settings.folder)
        try:
            self.lock = self._locked()
        except OSError as error:
            raise self._failed(error) from error
        try:
            self.manager = self._manager(ocp)
        except OSError as error:
            self._unlock()
            raise self._failed(error) from error
        self.beside = ThreadPoolExecutor(1)
        self.writing: Future[None] | None = None

    def _check_processes(self) -> None:
        """Raise where Orbax would wait for the other processes."""
        if jax.process_count() > 1:
            got = f"one of {jax.process_count()} that trains by itself"
            needs = "a run that is saved must be of all processes that JAX has joined"
            raise bad_value("checkpoint", needs, got, "Did you mean mesh=dl.mesh(data=-1)?")

    def _locked(self) -> IO[bytes] | None:
        return open_folder(self.folder)

    def _unlock(self) -> None:
        if self.lock is not None:
            clear_unfinished(self.folder)
            self.lock.close()

    def _manager(self, ocp: Any) -> Any:
        options = ocp.CheckpointManagerOptions(
            step_prefix="checkpoint",
            enable_async_checkpointing=False,  # the thread below is what does not keep the training waiting
            preservation_policy=self.kept,
        )
        return ocp.CheckpointManager(self.folder, options=options)

    def _failed(self, error: Exception) -> OSError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if code := re.search(r"os_error_code='(\d+)'", reason):  # in a page of words of Orbax's own
            reason = os.strerror(int(code[1]))
        before = saved_numbers(self.folder)
        earlier = f"checkpoint_{before[-1]} is sound" if before else "there is none before it"
        return OSError(f"checkpoint: could not write to {self.folder}: {reason}; {earlier}")

    def numbers(self) -> list[int]:
        """The numbers of the checkpoints that are whole, in order."""
        return saved_numbers(self.folder)

    @property
    def busy(self) -> bool:
        """Whether the last save is still being written."""
        return self.writing is not None and not self.writing.done()

    def save(self, number: int, tree: Any, position: dict[str, Any], best: int | None = None) -> None:
        """Copy the tree, and have it written beside; waits for the save before. ``best``: which one stays as well."""
        self.wait()
        leaves = {path: host_copy(leaf) for path, leaf in named_leaves(tree).items()}
        self.writing = self.beside.submit(self._write, number, leaves, position, best)

    def _write(self, number: int, leaves: dict[str, tuple[np.ndarray, str]], position: Any, best: int | None) -> None:
        described = {
            path: {"shape": list(array.shape), "dtype": kind, "digest": digest_of_part(array)}
            for path, (array, kind) in leaves.items()
        }
        try:
            self._hand_over(number, {path: array for path, (array, _) in leaves.items()}, described, position, best)
        except Exception as error:
            clear_unfinished(self.folder)  # a full disk has no room for it
            raise self._failed(error) from error

    def _hand_over(self, number: int, arrays: dict[str, Any], described: Any, position: Any, best: int | None) -> None:
        """Have Orbax write it."""
        text = json.dumps({"format": FORMAT, "leaves": described, "position": position})
        items = {"position": self.args.JsonSave({"text": text, "digest": digest_of_text(text)})}
        if filled_ones := {path: array for path, array in arrays.items() if array.size}:  # it takes no empty ones
            items["state"] = self.args.StandardSave(filled_ones)
        self.kept.best = best
        self.manager.save(number, args=self.args.Composite(**items), force=True)

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
            self._unlock()

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """The newest sound checkpoint as a tree like ``like`` and its position; None where there is none.

        A damaged one is reported with a warning, and the one before it is taken; the damaged ones are then renamed to
        ``damaged_checkpoint_…``, since the run will come to their numbers again.

        **Raises** ``ValueError`` when its leaves are others than those of ``like``, by path with both sides;
        ``OSError`` when all are damaged.
        """
        here = named_leaves(like)
        damaged: dict[int, str] = {}
        for number in reversed(self.numbers()):
            found = self._sound(number, here)
            if isinstance(found, str):
                damaged[number] = f"checkpoint_{number}: {found}"
                warnings.warn(f"checkpoint: {self.folder}, {damaged[number]}; taking the one before it", stacklevel=2)
                continue
            self._set_aside(damaged)
            position, arrays = found
            return filled(like, here, arrays), position
        if damaged:
            raise OSError(f"checkpoint: no sound checkpoint in {self.folder}: {'; '.join(damaged.values())}")
        return None

    def _sound(self, number: int, here: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | str:
        """A checkpoint's position and arrays for these leaves; what is wrong with it in a line, where it is damaged."""
        described = self._tried(lambda: self._read_description(number))
        if isinstance(described, str):
            return described
        if (form := described.get("format", 1)) != FORMAT:
            needs = f"{self.folder}/checkpoint_{number} must be of format {FORMAT}"
            raise bad_value("checkpoint", needs, form, "Did you mean another version of jaxdl?")
        leaves = described["leaves"]
        if lines := differing(leaves, here):
            needs = f"{self.folder}/checkpoint_{number} must hold the train state of this run"
            raise bad_value("checkpoint", needs, f"{len(lines)} leaves that differ:\n" + "\n".join(lines))
        arrays = self._tried(lambda: self._read_arrays(number, leaves, here))
        if isinstance(arrays, str):
            return arrays
        for path, digest in self._digests(arrays).items():
            if digest != leaves[path]["digest"]:
                return f"{path} must have the digest that was saved; got other bits"
        return described["position"], arrays

    def _tried(self, read: Callable[[], T]) -> T | str:
        """What is read; what is wrong with it in a line, where it is damaged."""
        try:
            return read()
        except Exception as error:  # whatever a damaged file makes Orbax raise
            return _in_short(error)

    def read(self, number: int, like: Any) -> Any:
        """The state of one checkpoint, as a tree like ``like``; None where it is not there, or not sound."""
        self.wait()
        if number not in self.numbers():
            return None
        here = named_leaves(like)
        found = self._sound(number, here)
        if isinstance(found, str):
            warnings.warn(f"checkpoint: {self.folder}, checkpoint_{number}: {found}", stacklevel=2)
            return None
        return filled(like, here, found[1])

    def _set_aside(self, numbers: Collection[int]) -> None:
        for number in numbers:
            (self.folder / f"checkpoint_{number}").rename(free_place(self.folder / f"damaged_checkpoint_{number}"))
        if numbers:
            self.manager.reload()

    def _read_description(self, number: int) -> dict[str, Any]:
        """The format, what the leaves are, and the position."""
        saved = self._item(number, "position", self.args.JsonRestore())
        if digest_of_text(saved["text"]) != saved["digest"]:
            raise bad_value("checkpoint", "the position must have the digest that was saved", "other bits")
        described: dict[str, Any] = json.loads(saved["text"])
        return described

    def _read_arrays(self, number: int, leaves: dict[str, Any], here: dict[str, Any]) -> dict[str, Any]:
        """The arrays, as Orbax has them."""
        arrays: dict[str, Any] = {path: self._room(leaf, here[path]) for path, leaf in leaves.items()}
        target = {path: array for path, array in arrays.items() if math.prod(array.shape)}
        if target:
            arrays |= self._item(number, "state", self.args.StandardRestore(target))
        return arrays

    def _item(self, number: int, name: str, how: Any) -> Any:
        """A part of a checkpoint, as Orbax reads it."""
        return self.manager.restore(number, args=self.args.Composite(**{name: how}))[name]

    def _room(self, leaf: dict[str, Any], like: Any) -> Any:
        """Where an array is read to."""
        return np.zeros(leaf["shape"], stored_dtype(leaf["dtype"]))

    def _digests(self, arrays: dict[str, Any]) -> dict[str, int]:
        return {path: digest_of_part(array) for path, array in arrays.items()}


def _in_short(error: Exception) -> str:
    """An error in a line: Orbax's own fill pages."""
    lines = str(error).splitlines()
    return textwrap.shorten(lines[0], 200, placeholder=" …") if lines else type(error).__name__
