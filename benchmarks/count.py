"""The work of a workload's step: floating-point operations and bytes, counted from the jaxpr of its plain form.

**Operations.** A product of matrices and a convolution count 2 for each multiply-add (a convolution those of the direct
form), everything else one for each element that it gives (also a maximum, an exponential), a reduction one for each
that it takes; what only moves, draws or compares nothing. A loop counts its body times its length; of branches the
largest counts.

**Bytes**, what a machine without a flaw must move: parameters and what the optimizer keeps, read once and written once
in a step; the batch, read once; what the forward pass keeps for the gradient, written once and read once. A prediction:
parameters and batch read once, the result written once. All between is taken to stay where it is computed.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.extend.core import Var

from benchmarks.limit import Work
from benchmarks.peers.plain_networks import MODELS, running_statistics
from benchmarks.workloads import Autoencoder, Workload
from jaxdl import functional
from jaxdl.losses import cross_entropy

MOVES = frozenset(
    name
    for line in (
        "broadcast_in_dim reshape transpose squeeze expand_dims concatenate slice dynamic_slice dynamic_update_slice",
        "gather pad rev iota copy convert_element_type bitcast_convert_type select_n stop_gradient device_put split",
        "optimization_barrier random_seed random_wrap random_unwrap random_fold_in random_bits random_split",
        "random_clone threefry2x32 shift_right_logical shift_left and or not xor eq ne lt le gt ge is_finite",
        "argmax argmin platform_index axis_index empty",
    )
    for name in line.split()
)
"""Primitives that compute no floating-point number: they place, choose, compare, or draw bits."""


def plain_forms() -> SimpleNamespace:
    """jaxdl's functions with ``method="lax"``, where they have one."""

    def plain(function: Callable[..., Any]) -> Callable[..., Any]:
        has = "method" in inspect.signature(function).parameters
        return partial(function, method="lax") if has else function

    return SimpleNamespace(**{name: plain(f) for name, f in vars(functional).items() if inspect.isfunction(f)})


def operations(jaxpr: Any) -> tuple[int, int]:
    """``(all, products)`` of a jaxpr and of all that it calls."""
    total = products = 0
    for equation in jaxpr.eqns:
        both = _of_equation(equation)
        total, products = total + both[0], products + both[1]
    return total, products


def _of_equation(equation: Any) -> tuple[int, int]:
    name = equation.primitive.name
    if name == "cond":
        return max(operations(branch.jaxpr) for branch in equation.params["branches"])
    if inner := list(_called(equation)):
        times = equation.params["length"] if name == "scan" else 1
        counts = [operations(jaxpr) for jaxpr in inner]
        return times * sum(c[0] for c in counts), times * sum(c[1] for c in counts)
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        work = 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
        return work, work
    if name == "conv_general_dilated":
        work = 2 * _multiply_adds(equation)
        return work, work
    if name in MOVES:
        return 0, 0
    takes = name.startswith(("reduce_", "cum", "select_and_"))
    sized = equation.invars if takes else equation.invars[2:] if name.startswith("scatter") else equation.outvars
    return max((v.aval.size for v in sized if _floating(v.aval)), default=0), 0


def _called(equation: Any) -> Iterator[Any]:
    """The jaxprs that an equation calls, but for branches; of a derivative of its own, the function alone."""
    if equation.primitive.name == "while":
        raise ValueError("count: a loop whose length is not known cannot be counted; a scan can")
    for name, value in equation.params.items():
        if name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
            yield getattr(value, "jaxpr", value)


def _multiply_adds(equation: Any) -> int:
    """Of a convolution: for each output those taps of its window that meet the input; holes between inputs and padding
    are no work."""
    numbers, params = equation.params["dimension_numbers"], equation.params
    lhs, rhs, out = (v.aval.shape for v in (*equation.invars, *equation.outvars))
    met = 1
    for axis, (low, _) in enumerate(params["padding"]):
        size, taps = lhs[numbers.lhs_spec[axis + 2]], rhs[numbers.rhs_spec[axis + 2]]
        places = out[numbers.out_spec[axis + 2]]
        stride, holes, apart = (params[n][axis] for n in ("window_strides", "lhs_dilation", "rhs_dilation"))
        at = (place * stride + tap * apart - low for place in range(places) for tap in range(taps))
        met *= sum(a % holes == 0 and 0 <= a // holes < size for a in at)
    batch, features = out[numbers.out_spec[0]], out[numbers.out_spec[1]]
    inputs = rhs[numbers.rhs_spec[1]]  # Of one group.
    return int(met * batch * features * inputs)


def _floating(aval: Any) -> bool:
    return jnp.issubdtype(aval.dtype, jnp.floating)


def _size(tree: Any) -> int:
    """Bytes of all leaves."""
    return sum(leaf.size * jnp.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))


def _kept(function: Callable[..., Any], weights: Any, *rest: Any) -> int:
    """Bytes of what the forward pass keeps for the gradient, beside what it was given."""

    def residuals(weights: Any, *rest: Any) -> list[Any]:
        return jax.tree.leaves(jax.vjp(lambda weights: function(weights, *rest), weights)[1])

    jaxpr = jax.make_jaxpr(residuals)(weights, *rest).jaxpr
    given = {*jaxpr.invars, *jaxpr.constvars}
    return _size([v.aval for v in {v for v in jaxpr.outvars if isinstance(v, Var)} - given])


def work(workload: Workload) -> Work:
    """The work of one step of a workload, or of the prediction of one batch."""
    network = workload.network
    apply = MODELS[type(network)](network, plain_forms())
    specs = partial(jax.tree.map, lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
    weights = specs(workload.weights())
    few = specs(type(workload)(workload.name, "", network, 1, 1).data())
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((workload.batch, *leaf.shape[1:]), leaf.dtype), few)
    state = jax.eval_shape(running_statistics, weights)
    key = jax.eval_shape(lambda: jax.random.key(0))
    if workload.task == "predict":

        def predict(weights: Any, state: Any, x: Any) -> Any:
            return apply(weights, state, x, train=False, key=None)[0]

        arguments = (weights, state, batch["x"])
        total, products = operations(jax.make_jaxpr(predict)(*arguments).jaxpr)
        return Work(total, products, _size((arguments, jax.eval_shape(predict, *arguments))))

    loss = optax.losses.squared_error if isinstance(network, Autoencoder) else cross_entropy
    optimizer = optax.adam(network.learning_rate)

    def objective(weights: Any, state: Any, batch: Any, key: Any) -> jax.Array:
        return loss(apply(weights, state, batch["x"], train=True, key=key)[0], batch["y"]).mean()

    def step(weights: Any, adam: Any, state: Any, batch: Any, key: Any) -> Any:
        gradients = jax.grad(objective)(weights, state, batch, key)
        updates, adam = optimizer.update(gradients, adam, weights)
        return optax.apply_updates(weights, updates), adam

    adam = jax.eval_shape(optimizer.init, weights)
    total, products = operations(jax.make_jaxpr(step)(weights, adam, state, batch, key).jaxpr)

    kept = _kept(objective, weights, state, batch, key)
    return Work(total, products, 2 * _size((weights, adam)) + _size(batch) + 2 * kept)
