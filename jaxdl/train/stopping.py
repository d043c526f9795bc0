"""Early stopping: the end of a run that gains nothing more, and the best state back."""

import warnings
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxdl.core import bad_value
from jaxdl.core.checks import not_negative, positive_int
from jaxdl.train.events import Event, History, Stop, one_figure, standing
from jaxdl.train.state import owned


@dataclass
class EarlyStopping:
    """What :func:`early_stopping` gives: a callback, with the best state of the run at hand."""

    column: str
    patience: int
    mode: Literal["min", "max"]
    min_change: float
    restore: bool
    best: Any = field(default=None, init=False, repr=False, compare=False)
    best_epoch: int | None = field(default=None, init=False, repr=False, compare=False)
    lost: int = field(default=0, init=False, repr=False, compare=False)
    """How many of the history's first epochs are out of reach, their best state being nowhere."""

    def __call__(self, event: Event) -> Stop | None:
        if event.kind == "begin":
            return self._begin(event)
        if event.kind == "epoch" and event.whole:
            return self._epoch(event)
        if event.kind == "end" and self.best_epoch is not None:
            self.best, found = None, self.best
            return Stop(found)
        return None

    def _begin(self, event: Event) -> Stop | None:
        """What an earlier part of the run came to is read off its history, and its best state off its checkpoints."""
        self.best, self.best_epoch, self.lost = None, None, 0
        if not event.history:
            return None
        best, idle = self._standing(event.history)
        if self.restore and best is not None:
            self.best = event.saved(best)
            if self.best is None:
                self.lost = len(event.history["epoch"])
                warnings.warn(
                    f"{self!r}: no checkpoint holds epoch {best}, the best so far; the best epoch from here on is what "
                    f"will be returned. Did you mean Checkpoint(…, best={self.column!r}, mode={self.mode!r})?",
                    stacklevel=2,
                )
            else:
                self.best_epoch = best
        return self._stop(idle)

    def _epoch(self, event: Event) -> Stop | None:
        best, idle = self._standing(event.history)
        if self.restore and best == event.epoch:
            self.best, self.best_epoch = owned(event.state, consume=False), best
        return self._stop(idle)

    def _stop(self, idle: int) -> Stop | None:
        if idle < self.patience:
            return None
        reason = f"{self.column} has gained nothing for {idle} epochs"
        if self.best_epoch is None:
            return Stop(reason=reason)
        return Stop(self.best, f"{reason}; epoch {self.best_epoch}, the best, is returned")

    def _standing(self, history: History) -> tuple[int | None, int]:
        """The best epoch, and how many there were since the last gain."""
        column = one_figure("early_stopping", "column", history, self.column)
        best, _ = standing(column[self.lost :], mode=self.mode)
        _, idle = standing(column, self.min_change, self.mode)
        return None if best is None else history["epoch"][self.lost + best], idle


def early_stopping(
    column: str,
    *,
    patience: int = 5,
    mode: Literal["min", "max"] = "min",
    min_change: float = 0.0,
    restore: bool = True,
) -> EarlyStopping:
    """A callback that ends a run which gains nothing more, and has it return the state of its best epoch.

    The best epoch is the last of those with the least value (of ``mode="max"`` the greatest), however the run ends:
    here, by Ctrl-C or after its last epoch. The whole train state goes back there, the optimizer's part and the step
    with it; a copy of it is held, which takes its memory once more. Values that are nan or None are no gain.

    What it knows is read off the history, so that a run which is resumed stops where it would have. The best state then
    comes from the checkpoints: ``Checkpoint(…, best=column, mode=mode)`` keeps it, with the same two arguments; where
    none holds it, a warning says so. What a checkpoint holds is the last state, not the best: with more ``patience``,
    ``resume=True`` goes on from there.

    **Args** ``column``: of the history, such as ``"validation_loss"``. ``patience``: how many epochs in a row may gain
    nothing. ``mode``: whether less (``"min"``) or more (``"max"``) is better. ``min_change``: a gain is more than
    this, against the last gain. ``restore``: have the run return the best epoch's state, not the last one's.

    **Raises** ``ValueError`` at the end of the first epoch for a column that the history lacks.

    Example:
        >>> import jax.numpy as jnp, jaxdl as dl
        >>> def step(height, batch):                              # falls by 1 a step, and is best at 0
        ...     return height - 1, {"size": jnp.abs(height - 1)}
        >>> stopping = dl.early_stopping("size", patience=2)
        >>> height, history = dl.run(
        ...     step, jnp.float32(3), jnp.ones(1), epochs=9, batch_size=1, callbacks=[stopping], progress=False
        ... )
        >>> history["size"], float(height)
        ([2.0, 1.0, 0.0, 1.0, 2.0], 0.0)

    **References** Prechelt, "Early Stopping – But When?", 1998.
    """
    positive_int("early_stopping", "patience", patience)
    not_negative("early_stopping", "min_change", min_change)
    if mode not in ("min", "max"):
        raise bad_value("early_stopping", 'mode must be "min" or "max"', repr(mode))
    return EarlyStopping(column, patience, mode, min_change, restore)
