"""How much a function computes, counted in its program."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Names = tuple[str, ...]


class Operations(NamedTuple):
    """What a program does.

    **Fields** ``flops``: floating-point operations; ``bytes``: what its operations read and write if none is fused with
    another; ``open_loops``: loops whose number of rounds depends on values, counted as one round; ``products``: the
    operations that are those of products of matrices and of convolutions.
    """

    flops: int = 0
    bytes: int = 0
    open_loops: int = 0
    products: int = 0

    def plus(self, other: "Operations", times: int = 1) -> "Operations":
        return Operations(*(mine + times * its for mine, its in zip(self, other, strict=True)))


def count_operations(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Operations:
    """The operations of ``function(*args, **kwargs)``, counted in its program; nothing is computed.

    A product of matrices ``(m, k) (k, n)`` has ``2 m k n`` operations, a convolution in its direct form 2 for each
    entry of the kernel that meets the input at an output (padding and the holes of a dilated input are no work), a
    reduction or a window one for each entry that goes in, a Fourier transform ``5 n log₂ n``, and every other
    arithmetic function of floats, ``exp`` as well as ``+``, one for each entry that comes out. Comparisons, choices,
    copies and integers count nothing. A scan counts as often as it is long, and of the branches of a ``cond`` the
    costliest. ``XLA`` may do less: it fuses, folds constants and drops what is not needed.

    **Args** ``args``: arrays or specs, or pytrees of them.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> def layer(w, x):
        ...     return jnp.tanh(x @ w)
        >>> count_operations(layer, jnp.ones((3, 4)), jnp.ones((2, 3)))
        Operations(flops=56, bytes=168, open_loops=0, products=48)
        >>> count_operations(jax.grad(lambda w, x: layer(w, x).sum()), jnp.ones((3, 4)), jnp.ones((2, 3))).flops > 56
        True
    """
    return in_all(operations_by_name(function, *args, **kwargs).values())


def in_all(counts: Iterable[Operations]) -> Operations:
    """The sum of several counts."""
    total = Operations()
    for count in counts:
        total = total.plus(count)
    return total


def operations_by_name(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[Names, Operations]:
    """The operations under each ``jax.named_scope``: for a model's ``apply``, under the path of each layer."""
    counts: dict[Names, Operations] = defaultdict(Operations)
    _count(jax.make_jaxpr(function)(*args, **kwargs).jaxpr, (), 1, counts)
    return dict(counts)


def by_path(counts: dict[Names, Operations], paths: Iterable[str]) -> dict[str, Operations]:
    """The operations of each of these paths: what lies under it, and under no longer one of them."""
    known = set(paths)
    found: dict[str, Operations] = defaultdict(Operations)
    for names, count in counts.items():
        found[path_within(names, known)] = found[path_within(names, known)].plus(count)
    return found


def path_within(names: Names, paths: set[str]) -> str:
    """The longest of the paths that the names begin with; ``""`` where there is none."""
    ways = ("/".join(names[:length]) for length in range(len(names), 0, -1))
    return next((path for path in ways if path in paths), "")


def scopes(equation: Any) -> Names:
    """The names of the scopes that an equation stands in; transformations are not named."""
    return tuple(part for entry in equation.source_info.name_stack.stack for part in _scope(entry))


def _scope(entry: Any) -> list[str]:
    return [entry.name] if type(entry).__name__ == "Scope" else []


def inner_programs(equation: Any) -> list[tuple[Any, int]]:
    """The programs inside of an equation that are run, and how often each."""
    name, params = equation.primitive.name, equation.params
    if name in _COUNTED_WHOLE:
        return []
    if name == "while":
        return [(params[part].jaxpr, 1) for part in ("cond_jaxpr", "body_jaxpr")]
    times = params["length"] if name == "scan" else 1
    found = [getattr(value, "jaxpr", value) for value in params.values() if hasattr(value, "eqns") or _closed(value)]
    return [(program, times) for program in found]


def _closed(value: Any) -> bool:
    return hasattr(value, "jaxpr") and hasattr(value, "consts")


def _count(program: Any, outer: Names, times: int, counts: dict[Names, Operations]) -> None:
    for equation in program.eqns:
        names = outer + scopes(equation)
        if equation.primitive.name == "cond":
            branches: list[dict[Names, Operations]] = []
            for branch in equation.params["branches"]:
                branches.append(defaultdict(Operations))
                _count(branch.jaxpr, names, times, branches[-1])
            for name, count in max(branches, key=lambda branch: in_all(branch.values())).items():
                counts[name] = counts[name].plus(count)
            continue
        inner = inner_programs(equation)
        for body, rounds in inner:
            _count(body, names, times * rounds, counts)
        if equation.primitive.name == "while":
            counts[names] = counts[names].plus(Operations(open_loops=1))
        elif not inner:
            counts[names] = counts[names].plus(_alone(equation), times)


def _alone(equation: Any) -> Operations:
    name = equation.primitive.name
    moved = 0 if name in _FREE else sum(_bytes(value.aval) for value in (*equation.invars, *equation.outvars))
    out: Any = equation.outvars[0].aval if equation.outvars else None
    if not hasattr(out, "dtype") or not jnp.issubdtype(out.dtype, jnp.inexact):
        return Operations(0, moved)
    rule = _RULES.get(name)
    flops = rule(equation) if rule else 0
    return Operations(flops, moved, products=flops if name in _PRODUCTS else 0)


def _bytes(aval: Any) -> int:
    return math.prod(aval.shape) * aval.dtype.itemsize if hasattr(aval, "dtype") else 0


def _size(value: Any) -> int:
    return math.prod(value.aval.shape)


def _out(equation: Any) -> int:
    return _size(equation.outvars[0])


def _in(equation: Any) -> int:
    return _size(equation.invars[0])


def _dot(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2 * _out(equation) * math.prod(left[axis] for axis in contracted)


def _conv(equation: Any) -> int:
    numbers, params = equation.params["dimension_numbers"], equation.params
    image, kernel, out = (value.aval.shape for value in (*equation.invars, *equation.outvars))
    met = 1
    for axis, (low, _) in enumerate(params["padding"]):
        size, taps = image[numbers.lhs_spec[axis + 2]], kernel[numbers.rhs_spec[axis + 2]]
        stride, holes, apart = (params[name][axis] for name in ("window_strides", "lhs_dilation", "rhs_dilation"))
        met *= _meetings((out[numbers.out_spec[axis + 2]], stride), (taps, apart), low, size, holes)
    inputs = kernel[numbers.rhs_spec[1]]  # of one group
    return 2 * met * out[numbers.out_spec[0]] * out[numbers.out_spec[1]] * inputs


def _meetings(places: tuple[int, int], taps: tuple[int, int], low: int, size: int, holes: int) -> int:
    """For how many pairs ``(p, t)`` is ``p · stride + t · apart − low`` one of ``0, holes, …, (size − 1) · holes``?

    ``places`` is the number of p and the stride, ``taps`` the number of t and how far they lie apart.
    """
    (few, near), (many, far) = sorted((places, taps))
    shared = math.gcd(far, holes)
    period, found = holes // shared, 0
    for one in range(few):
        start = one * near - low  # start + other · far shall lie in the input, and in none of its holes
        if start % shared:
            continue
        first = max(0, -(start // far))
        last = min(many - 1, ((size - 1) * holes - start) // far)
        at = -(start // shared) * pow(far // shared, -1, period) % period
        found += max(0, (last - at) // period - (first - 1 - at) // period)
    return found


def _window(equation: Any) -> int:
    return _out(equation) * math.prod(equation.params["window_dimensions"])


def _scatter(equation: Any) -> int:
    return _size(equation.invars[2])


def _spread(equation: Any) -> int:
    return _in(equation) * math.prod(equation.params["window_dimensions"])


def _fourier(equation: Any) -> int:
    points = math.prod(equation.params["fft_lengths"])
    return 5 * _out(equation) * max(points - 1, 0).bit_length()


def _cholesky(equation: Any) -> int:
    return _in(equation) * equation.invars[0].aval.shape[-1] // 3


def _solve(equation: Any) -> int:
    return _size(equation.invars[1]) * equation.invars[0].aval.shape[-1]


_ELEMENTWISE = (
    *("add", "add_any", "sub", "mul", "div", "rem", "max", "min", "neg", "abs", "sign", "square", "pow", "integer_pow"),
    *("floor", "ceil", "round", "clamp", "nextafter", "sqrt", "rsqrt", "cbrt", "exp", "exp2", "expm1", "log", "log1p"),
    *("logistic", "tanh", "sinh", "cosh", "tan", "sin", "cos", "asin", "acos", "atan", "atan2", "asinh", "acosh"),
    *("atanh", "erf", "erfc", "erf_inv", "lgamma", "digamma", "igamma", "igammac", "regularized_incomplete_beta"),
    *("bessel_i0e", "bessel_i1e"),
)
_REDUCTIONS = (
    *("reduce_sum", "reduce_max", "reduce_min", "reduce_prod"),
    *("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"),
)
_RULES: dict[str, Callable[[Any], int]] = {
    **dict.fromkeys(_ELEMENTWISE, _out),
    **dict.fromkeys(_REDUCTIONS, _in),
    **dict.fromkeys(("reduce_window_sum", "reduce_window_max", "reduce_window_min", "reduce_window"), _window),
    **dict.fromkeys(("scatter-add", "scatter_add", "scatter-mul", "scatter_mul"), _scatter),
    "select_and_scatter_add": _spread,
    "dot_general": _dot,
    "conv_general_dilated": _conv,
    "fft": _fourier,
    "cholesky": _cholesky,
    "triangular_solve": _solve,
}
_PRODUCTS = ("dot_general", "conv_general_dilated")
_FREE = ("reshape", "squeeze", "expand_dims", "bitcast_convert_type", "stop_gradient")
# Their inner program is that of one entry.
_COUNTED_WHOLE = {"reduce_window", "scatter-add", "scatter_add", "scatter-mul", "scatter_mul", "scatter", "reduce"}
