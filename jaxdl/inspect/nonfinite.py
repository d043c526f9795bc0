"""Where a value that is not finite comes from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.combine import sequential
from jaxdl.core import LayerLike, Sum, bad_type, flat_paths
from jaxdl.core.children import kind_of
from jaxdl.core.watch import is_floating
from jaxdl.inspect.causes import Range, gradient_cause, output_cause, primitives_of
from jaxdl.inspect.intermediates import zero_moves
from jaxdl.inspect.places import Place, Watched, answers, asking, find_parts, in_order, places_of
from jaxdl.train.supervised import supervised


@dataclass(frozen=True)
class Nonfinite:
    """What :func:`locate_nonfinite` found; false where everything is finite.

    **Fields** ``what``: ``"batch"``, ``"parameter"``, ``"state"``, ``"output"``, ``"loss"`` or ``"gradient"``, None
    where all is finite; ``path``: of the layer, of the parameter, or within the batch; ``member``: the layer's number
    in each stack around it; ``kind``: of the layer; ``nan``, ``inf``, ``size``: how many entries are nan and inf, of
    how many; ``input``: the range of what went into the layer; ``cause``: a likely one, in a line.
    """

    what: str | None = None
    path: str = ""
    member: tuple[int, ...] = ()
    kind: str = ""
    nan: int = 0
    inf: int = 0
    size: int = 0
    input: Range | None = None
    cause: str = ""

    def __bool__(self) -> bool:
        return self.what is not None

    def __str__(self) -> str:
        if not self:
            return "everything is finite"
        of = f" of {self.kind}" if self.kind else ""
        member = f", member {', '.join(map(str, self.member))}" if self.member else ""
        lines = [f"the first that is not finite: the {self.what} {self.path!r}{of}{member}"]
        lines.append(f"  {self.nan:,} nan and {self.inf:,} inf of {self.size:,} entries")
        if self.input is not None:
            lines.append(f"  its input: {self.input}")
        return "\n".join([*lines, f"  likely: {self.cause}"])


def locate_nonfinite(
    model: LayerLike,
    params: Any,
    state: Any,
    batch: Any,
    *,
    loss: Callable[[Any, Any], Any] | None = None,
    key: jax.Array | None = None,
    train: bool = True,
) -> Nonfinite:
    """The first value of a training step that is not finite, and the layer that it comes from.

    It looks at the batch, the parameters and the state, then at the layers' outputs in the order of the computation,
    and then, with a ``loss``, at it and at the gradients in the opposite order: the layer named is the one whose own
    derivative turns a finite gradient of its output into one of its input or its parameters that is not. Targets may be
    anything where their weight is 0. The members of a ``repeat`` are told apart.

    The report is false where all is finite, and reads well: ``print(locate_nonfinite(…))``.

    **Args** ``batch``: ``{"x", "y"}`` with or without ``"weight"``, or ``(x, y)``; ``loss``: as for :func:`jaxdl.fit`;
    without it the gradients are not looked at. ``key``, ``train``: as for ``apply``.

    **Raises** ``TypeError`` for a batch that is neither.

    Example:
        >>> import jax, jax.numpy as jnp, jaxdl as dl
        >>> model = dl.sequential(dl.layers.dense(3), jax.nn.relu, ("log", jnp.log))
        >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 2)))
        >>> found = locate_nonfinite(model, params, state, (jnp.zeros((4, 2)), jnp.ones((4, 3))))
        >>> print(found)
        the first that is not finite: the output 'log' of log
          0 nan and 12 inf of 12 entries
          its input: float32[4,3] from 0 to 0, 12 zeros
          likely: the logarithm of 0 or of a negative number: add a small constant, or use a log_softmax or log1p
    """
    if isinstance(batch, tuple) and len(batch) == 2:
        batch = {"x": batch[0], "y": batch[1]}
    if not isinstance(batch, dict) or "x" not in batch:
        raise bad_type("locate_nonfinite", "batch must be {'x', 'y'} or (x, y)", batch)
    given = [("batch", batch), ("parameter", params), ("state", state)]
    masked = {"y"} if "weight" in batch else set()
    for what, tree in given:
        for path, leaf in flat_paths(tree).items():
            if path.split("/")[0] not in masked and (bad := _counts(leaf)):
                return Nonfinite(what, path, **bad, cause=_GIVEN[what])
    parts = find_parts(model, batch["x"])
    places = places_of(parts)
    search = _Search(model, params, state, batch, places, key, train)
    with jax.debug_nans(False), jax.debug_infs(False):
        found = search.outputs()
        return found if found or loss is None else search.gradients(loss)


_GIVEN = {
    "batch": "the data: a missing value, or a division by zero or an overflow on the way here",
    "parameter": "an earlier update wrote it: a learning rate too large, or a gradient that was not finite",
    "state": "an earlier step wrote it: statistics of a batch that was not finite, or that overflowed",
}


def _counts(leaf: Any) -> dict[str, Any]:
    """How many entries are nan and inf, of how many; nothing where all are finite."""
    if not is_floating(leaf):
        return {}
    nan, inf = int(jnp.isnan(leaf).sum()), int(jnp.isinf(leaf).sum())
    return {"nan": nan, "inf": inf, "size": int(leaf.size)} if nan or inf else {}


def _numbers(tree: Any, stacked: int) -> jax.Array:
    """For each member: nan, inf, size, zeros, and the lowest and the highest of the finite entries of all leaves."""

    def of(leaf: Any) -> jax.Array:
        leaf = jnp.asarray(leaf)
        wide = jnp.float64 if leaf.dtype == jnp.float64 else jnp.float32
        leaf = leaf.reshape(*leaf.shape[:stacked], -1).astype(wide)
        finite = jnp.isfinite(leaf)
        columns = [
            jnp.isnan(leaf).sum(-1),
            jnp.isinf(leaf).sum(-1),
            jnp.full(leaf.shape[:-1], leaf.shape[-1]),
            (leaf == 0).sum(-1),
            jnp.min(leaf, -1, where=finite, initial=jnp.inf),
            jnp.max(leaf, -1, where=finite, initial=-jnp.inf),
        ]
        return jnp.stack([column.astype(wide) for column in columns], -1)

    leaves = [of(leaf) for leaf in jax.tree.leaves(tree) if not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)]
    if not leaves:
        return jnp.zeros(6)
    columns = jnp.stack(jnp.broadcast_arrays(*leaves))
    return jnp.concatenate([columns[..., :4].sum(0), columns[..., 4:5].min(0), columns[..., 5:].max(0)], -1)


def _bad(row: np.ndarray) -> bool:
    return bool(row[0] or row[1])


def _counted(row: np.ndarray) -> dict[str, Any]:
    return {"nan": int(row[0]), "inf": int(row[1]), "size": int(row[2])}


class _Search:
    """One model on one batch, watched at all places."""

    def __init__(
        self, model: Any, params: Any, state: Any, batch: Any, places: Sequence[Place], key: Any, train: bool
    ) -> None:
        self.model, self.params, self.state, self.batch = Watched(model), params, state, batch
        self.places, self.key, self.train = places, key, train
        self.seen: dict[str, Any] = {}

    def run(self, params: Any, batch: Any, moves: Any = None) -> tuple[Any, dict[str, Any]]:
        state = asking(self.state, self.places, moves)
        y, new = self.model.apply(params, state, batch["x"], train=self.train, key=self.key)
        return y, answers(new, self.places)

    def numbers(self, values: dict[str, dict[str, Any]]) -> dict[str, dict[str, jax.Array]]:
        stacks = {place.name: len(place.stacks) for place in self.places}
        return {
            name: {end: _numbers(tree, stacks[name]) for end, tree in ends.items()} for name, ends in values.items()
        }

    def outputs(self) -> Nonfinite:
        self.seen = jax.device_get(jax.jit(lambda *args: self.numbers(self.run(*args)[1]))(self.params, self.batch))
        for place, member, numbers in self.walk(self.seen):
            if _bad(numbers["output"]):
                return self.report("output", place, member, numbers["output"], output_cause)
        return Nonfinite()

    def walk(self, found: dict[str, Any]) -> Iterator[tuple[Place, tuple[int, ...], dict[str, np.ndarray]]]:
        for place, member in in_order(self.places):
            if place.name in found:
                yield place, member, {end: numbers[member] for end, numbers in found[place.name].items()}

    def report(self, what: str, place: Place, member: tuple[int, ...], row: np.ndarray, cause: Any) -> Nonfinite:
        spec = jax.eval_shape(lambda *args: self.run(*args)[1][place.name]["input"], self.params, self.batch)
        inside = self.seen[place.name]["input"][member]
        shown = Range.of(spec, len(member), inside)
        used = primitives_of(lambda *args: self.run(*args)[0], place, self.places, self.params, self.batch)
        likely = cause(place, self.params, shown, used, *map(bool, row[:2]))
        return Nonfinite(what, place.path, member, kind_of(place.layer), **_counted(row), input=shown, cause=likely)

    def gradients(self, loss: Callable[[Any, Any], Any]) -> Nonfinite:
        measure = supervised(sequential(), loss)

        def objective(params: Any, moves: Any, batch: Any) -> tuple[jax.Array, Sum]:
            y, _ = self.run(params, batch, moves)
            total, _ = measure({}, {}, batch | {"x": y}, key=self.key, train=self.train)
            return total.mean(), total

        values = jax.eval_shape(lambda *args: self.run(*args)[1], self.params, self.batch)
        moves = zero_moves(values, ("input", "output"))

        @jax.jit
        def look(params: Any, moves: Any, batch: Any) -> Any:
            run = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
            (value, _), (slopes, cotangents) = run(params, moves, batch)
            return value, self.numbers(cotangents), jax.tree.map(partial(_numbers, stacked=0), slopes)

        value, cotangents, slopes = jax.device_get(look(self.params, moves, self.batch))
        if not np.isfinite(value):
            cause = "the loss of a finite prediction: probabilities of 0 or 1, or targets that the loss cannot take"
            return Nonfinite("loss", "loss", nan=int(np.isnan(value)), inf=int(np.isinf(value)), size=1, cause=cause)
        return self.worst(cotangents, flat_paths(slopes))

    def worst(self, cotangents: dict[str, Any], slopes: dict[str, np.ndarray]) -> Nonfinite:
        """The last layer of the computation that makes a gradient bad that was not, inside before outside."""
        last = cotangents.get("", {}).get("output")
        if last is not None and _bad(last):
            cause = "the derivative of the loss, at a prediction where it has none: a root, a logarithm or a norm of 0"
            return Nonfinite("gradient", "loss", **_counted(last), cause=cause)
        for place, member, numbers in reversed(list(self.walk(cotangents))):
            if _bad(numbers["input"]) and not _bad(numbers["output"]) and self.is_leaf(place):
                return self.report("gradient", place, member, numbers["input"], gradient_cause)
        for path in sorted(slopes, key=self.last_first):
            if _bad(row := slopes[path]):
                cause = "the derivative of the layer in this parameter, of finite gradients of its output"
                return Nonfinite("gradient", path, **_counted(row), cause=cause)
        return Nonfinite()

    def last_first(self, path: str) -> int:
        """How far from the end the layer is that a parameter belongs to."""
        order = [place.path for place in self.places if path.startswith(f"{place.path}/" if place.path else "")]
        innermost = max(order, key=len, default="")
        return -max((at for at, place in enumerate(self.places) if place.path == innermost), default=0)

    def is_leaf(self, place: Place) -> bool:
        inside = f"{place.path}/" if place.path else ""
        deeper = (other for other in self.places if other.path == place.path and other.depth > place.depth)
        within = (other for other in self.places if other.path != place.path and other.path.startswith(inside))
        return next(deeper, None) is None and next(within, None) is None
