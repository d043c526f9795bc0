"""What a value that is not finite likely comes from: a line, from what a layer does and what went into it."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import describe
from jaxdl.inspect.operations import Names, inner_programs, path_within, scopes
from jaxdl.inspect.places import Place


class Range(NamedTuple):
    """What went into a layer: its type, the lowest and the highest of its finite entries, and how many are zeros."""

    text: str
    low: float
    high: float
    zeros: int
    largest: float
    """The largest number of its type, 0 for integers."""

    @classmethod
    def of(cls, spec: Any, stacked: int, row: np.ndarray) -> "Range":
        """The range of a member, of which ``row`` are the numbers and ``spec`` the spec of all members."""
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[stacked:], leaf.dtype), spec)
        floating = [leaf.dtype for leaf in jax.tree.leaves(one) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        largest = min((float(jnp.finfo(dtype).max) for dtype in floating), default=0.0)
        return cls(describe(one), float(row[4]), float(row[5]), int(row[3]), largest)

    def __str__(self) -> str:
        zeros = f", {self.zeros:,} zero{'s' * (self.zeros > 1)}" if self.zeros else ""
        return f"{self.text} from {self.low:.4g} to {self.high:.4g}{zeros}"


def primitives_of(function: Callable[..., Any], place: Place, places: Sequence[Place], *args: Any) -> frozenset[str]:
    """The names of the primitives that a place's own program is made of."""
    paths = {other.path for other in places}
    found = _equations(jax.make_jaxpr(function)(*args).jaxpr, ())
    return frozenset(name for names, name in found if path_within(names, paths) == place.path)


def _equations(program: Any, outer: Names) -> Iterator[tuple[Names, str]]:
    for equation in program.eqns:
        names = outer + scopes(equation)
        yield names, equation.primitive.name
        inner = [body for body, _ in inner_programs(equation)]
        for body in (*inner, *(branch.jaxpr for branch in equation.params.get("branches", ()))):
            yield from _equations(body, names)


def output_cause(place: Place, params: Any, seen: Range, used: frozenset[str], nan: bool, inf: bool) -> str:
    """Why a layer's output is not finite, though its input and its parameters are; whether it is nan, or inf."""
    rows = _table_rows(place, params)
    if rows is not None and not seen.largest and (seen.low < 0 or seen.high >= rows):
        return f"an id out of the table: ids from {seen.low:.0f} to {seen.high:.0f} for the rows 0 to {rows - 1}"
    exponent = math.log(seen.largest) if seen.largest else math.inf
    causes = [
        (
            "log" in used and ((nan and seen.low < 0) or (inf and bool(seen.zeros))),
            "the logarithm of 0 or of a negative number: add a small constant, or use a log_softmax or log1p",
        ),
        ("log1p" in used and seen.low <= -1, "the logarithm of 1 + x for x of −1 or less"),
        ("sqrt" in used and nan and seen.low < 0, "the root of a negative number"),
        ("rsqrt" in used and seen.low <= 0 and seen.low == seen.high, "one over the root of a variance of 0"),
        (
            bool({"exp", "exp2", "expm1"} & used) and inf and seen.high > exponent,
            f"the exponential of x overflows above {exponent:.4g}: subtract the maximum first, as softmax does",
        ),
        (
            _size(seen) > math.sqrt(seen.largest or math.inf) / 1e3,
            f"an overflow: products of such numbers pass {seen.largest:.4g}, the largest of their type",
        ),
        ("div" in used and bool(seen.zeros), "a division by zero"),
        ("pow" in used and nan and seen.low < 0, "a broken power of a negative number"),
        (bool({"pow", "integer_pow"} & used) and bool(seen.zeros), "a negative power of 0"),
    ]
    return next((text for holds, text in causes if holds), "the layer's own arithmetic, on a finite input")


def gradient_cause(place: Place, params: Any, seen: Range, used: frozenset[str], nan: bool, inf: bool) -> str:
    """Why a layer's derivative turns a finite gradient into one that is not."""
    causes = [
        (
            "sqrt" in used and bool(seen.zeros or seen.low == seen.high),
            "the derivative of a root (so of a norm or a deviation) at 0 is infinite: add a small constant first",
        ),
        (bool({"log", "div", "rsqrt", "pow"} & used) and bool(seen.zeros), "a derivative at 0, where it is infinite"),
        (
            bool({"select_n"} & used) and bool({"sqrt", "log", "div", "exp"} & used),
            "a branch of where that is not chosen, whose derivative is infinite: make its argument safe first",
        ),
        (
            bool({"sqrt", "log", "div", "rsqrt", "pow"} & used),
            "a derivative near a place where it is infinite: a root, a logarithm or a quotient of 0 within",
        ),
    ]
    return next(
        (text for holds, text in causes if holds), "an overflow on the way back: a loss or a gradient too large"
    )


def _size(seen: Range) -> float:
    return max(abs(seen.low), abs(seen.high)) if math.isfinite(seen.low) else 0.0


def _table_rows(place: Place, params: Any) -> int | None:
    """The number of rows of a layer's embedding, where it has one."""
    for name in filter(None, place.path.split("/")):
        params = params.get(name, {}) if isinstance(params, dict) else {}
    table = params.get("embedding") if isinstance(params, dict) else None
    return None if table is None else int(table.shape[-2])
