"""What a run does when its numbers are no longer finite: it finds the step, and names it and the layer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import bad_value
from jaxdl.train.precision import cast
from jaxdl.train.program import OnNonfinite, StepFn, Totals, all_finite, batch_program, is_inexact, means, zeros_like
from jaxdl.train.state import TrainState
from jaxdl.train.step import Transform
from jaxdl.train.supervised import Supervised

SHOWN = 8
"""How many examples or leaves a message names."""

Locate = Callable[..., Any]
_rooms: dict[str, Locate] = {}


def locate_with(locate: Locate) -> None:
    """Take the function that finds where in a model a step went wrong, :func:`jaxdl.inspect.locate_nonfinite`.

    Training stands on a lower floor than what looks into models, so it is handed in from above.
    """
    _rooms["locate"] = locate


class NonfiniteError(FloatingPointError):
    """A training step came to a loss, or to a train state, that is not finite; raised by ``fit`` and ``run``.

    **Fields** ``epoch`` and ``step``: of the step, from 1, as in the history; ``examples``: which of the data's it was
    given, None where they have no numbers (a stream); ``batch``: what it was given, transformed; ``train_state``: the
    state before it, which is finite, and as it would be had the run ended there; ``found``: what
    :func:`jaxdl.inspect.locate_nonfinite` says of it, None for a step that is not of ``make_step(supervised(…))``;
    ``history``: of the epochs before.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from jaxdl.train import run
        >>> def step(mean, batch):
        ...     return 0.5 * (mean + batch.mean()), {"loss": jnp.log(batch.min())}
        >>> try:
        ...     run(step, 1.0, np.arange(8.0)[::-1], epochs=1, batch_size=2, shuffle=False, progress=False)
        ... except NonfiniteError as error:
        ...     print(error.step, error.batch, error.train_state)
        4 [1. 0.] 3.3125
    """

    epoch: int
    step: int
    examples: np.ndarray | None
    batch: Any
    train_state: Any
    found: Any
    history: dict[str, list[Any]]


def check_guard(on_nonfinite: Any) -> OnNonfinite:
    if on_nonfinite not in ("raise", "skip", None):
        raise bad_value("run", 'on_nonfinite must be "raise", "skip" or None', repr(on_nonfinite))
    guard: OnNonfinite = on_nonfinite
    return guard


def are_finite(tree: Any) -> np.ndarray:
    """For each leaf whether all its entries are finite, on the host: between programs nothing is to be compiled."""
    found = [_is_finite(leaf) for leaf in jax.tree.leaves(tree)]
    return np.array(jax.device_get(found), bool)


_all_finite = jax.jit(all_finite, static_argnums=1)


def _is_finite(leaf: jax.Array) -> Any:
    if not is_inexact(leaf):
        return True
    if not leaf.is_fully_addressable or leaf.itemsize < 4 or next(iter(leaf.devices())).platform != "cpu":
        return _all_finite(leaf, not leaf.is_fully_replicated)
    array = np.asarray(leaf)  # no copy
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())  # A sum may also overflow.


def is_finite_loss(totals: Totals) -> bool:
    """Whether the total of the losses is finite; where no metric is named so, nobody watches."""
    return "loss" not in totals or bool(np.isfinite(totals["loss"][0].numbers).all())


class Begun(NamedTuple):
    """Where a program began: all that it takes to run its steps again."""

    state: Any
    totals: Totals
    segment: Any
    epoch: int
    at: int


Replay = Callable[[Any, Totals, int, int], tuple[Any, Totals, int]]
"""``(state, totals, start, stop) -> (state, totals, reached)``: steps of the program at hand once more."""


def first_bad(begun: Begun, finite: np.ndarray, bad: int, replay: Replay) -> tuple[int, Any]:
    """The first step after which something is not finite, and the state before it; after ``bad`` steps it is so.

    A loss is often finite still where its gradient is not any more, so the step before is looked at as well; else the
    steps between are halved: all that is run again is at most as many steps as the program had, twice.
    """
    good, state, totals, probe = begun.at, begun.state, begun.totals, bad - 1
    while bad - good > 1:
        new, sums, reached = replay(state, totals, good, probe)
        if is_finite_loss(sums) and not (finite & ~are_finite(new)).any():
            good, state, totals = probe, new, sums
        else:
            bad = reached
        probe = (good + bad) // 2
    return good, state


def stopped(
    call: str,
    step: StepFn,
    transform: Transform | None,
    key: jax.Array | None,
    begun: Begun,
    finite: np.ndarray,
    reached: int,
    replay: Replay,
    examples: Callable[[int, int], np.ndarray | None],
) -> NonfiniteError:
    """The error for a program after whose steps something is not finite that was so before."""
    segment, epoch = begun.segment, begun.epoch
    at, state = first_bad(begun, finite, reached, replay)
    after, totals, _ = replay(state, zeros_like(begun.totals), at, at + 1)
    where = np.array([0, 0, segment.first, epoch], np.int32)
    batch = batch_program(transform, segment.data, segment.order, key, where, np.int32(at))
    number = segment.first + at
    rows = examples(epoch, number)
    found, located = _located(step, state, batch)
    got = f"{_what(totals, state, after, finite)} in step {number + 1} of epoch {epoch + 1}{_rows(rows)}"
    needs = "the loss and the train state must stay finite"
    lines = [f"{call}: {needs}; got {got}", *located.splitlines(), HINT]
    error = NonfiniteError("\n  ".join(lines))
    error.epoch, error.step, error.examples, error.batch = epoch + 1, number + 1, rows, batch
    error.train_state, error.found, error.history = state, found, {}
    return error


HINT = (
    "Did you mean a lower learning rate, optax.clip_by_global_norm(1.0) before the optimizer, or other inputs? "
    'on_nonfinite="skip" leaves such steps out. The error holds .train_state before the step, its .batch and .examples'
)


def _what(totals: Totals, before: Any, after: Any, finite: np.ndarray) -> str:
    """What went wrong in a step: its loss, or else leaves of its state."""
    if not is_finite_loss(totals):
        return f"a loss of {means(totals)['loss']}"
    spoilt = finite & ~are_finite(after)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(before)]
    names = [path or "the state" for path, bad in zip(paths, spoilt, strict=True) if bad]
    if names:
        return f"nan or inf in train_state{_some(names)} of a finite loss"
    return "a sum of the losses that is too large for its type"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _rows(rows: np.ndarray | None) -> str:
    return "" if rows is None else f", on the examples {_some(list(map(str, rows)))}"


def _located(step: StepFn, state: Any, batch: Any) -> tuple[Any, str]:
    """What looking into the model finds, and what to say of it."""
    loss_fn = getattr(step, "loss_fn", None)
    if not isinstance(loss_fn, Supervised) or not isinstance(state, TrainState) or "locate" not in _rooms:
        return None, ""
    key, params = jax.random.fold_in(state.key, state.step), state.params
    if loss_fn.policy is not None:
        params, x = cast((params, batch["x"]), jnp.dtype(loss_fn.policy))
        batch = batch | {"x": x}
    try:
        found = _rooms["locate"](loss_fn.model, params, state.state, batch, loss=loss_fn.loss, key=key)
    except Exception as error:  # whatever a model does when it is run in another way; the error at hand matters more
        return None, f"where it comes from could not be found: {type(error).__name__}: {error}"
    if found:
        return found, str(found)
    return found, "all outputs of layers and all gradients of the loss are finite: look at the penalty and the update"
