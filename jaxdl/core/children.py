"""How a combinator treats its children: their names, their keys, their specs, their errors."""

import functools
import zlib
from collections.abc import Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core.contract import Built, LayerLike, Params, Part, State, Visit
from jaxdl.core.errors import bad_value, located, shapes_alone
from jaxdl.core.layer import Layer, checked_initial, checked_result, decoding_of
from jaxdl.core.lift import lift
from jaxdl.core.spread import inside
from jaxdl.core.watch import watched

Child = tuple[str, LayerLike]
# Arguments of combinators whose parameters do not stand under the argument's name; those given in a row have none.
_MADE_MANY_OF = {"", "layer", "expert"}
# Wrappers whose parameters are those of the layer inside; all others make them of their own.
_KEEP_PARAMETERS = {"remat"}


def kind_of(layer: LayerLike) -> str:
    """The name that an unnamed child takes: a record's kind, a wrapper's that of the layer inside, or the class name of
    a layer of one's own."""
    while isinstance(layer, Layer) and layer.wraps is not None:
        layer = lift(layer.kind, layer.wraps)
    return layer.kind if isinstance(layer, Layer) else type(layer).__name__


def check_name(call: str, name: Any) -> str:
    """A child's or a leaf's name: not empty, without ``/`` and ``*``, which paths and globs are made of."""
    if not isinstance(name, str) or not name or "/" in name or "*" in name:
        raise bad_value(call, "a name must be a non-empty str without '/' and '*'", repr(name))
    return name


def name_children(call: str, children: Sequence[Any]) -> tuple[Child, ...]:
    """Name each child: as its ``(name, layer)`` pair says, else after its kind (``conv``, ``conv_1``, …)."""
    named: list[Child] = []
    seen: dict[str, int] = {}
    for child in children:
        if isinstance(child, tuple) and len(child) == 2 and isinstance(child[0], str):
            named.append((check_name(call, child[0]), lift(call, child[1])))
            continue
        layer = lift(call, child)
        kind = kind_of(layer)
        count = seen.get(kind, 0)
        seen[kind] = count + 1
        named.append((f"{kind}_{count}" if count else kind, layer))
    names = [name for name, _ in named]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise bad_value(call, "the names of children must differ", f"{', '.join(twice)} more than once in {names}")
    return tuple(named)


@overload
def child_key(key: None, name: str) -> None: ...
@overload
def child_key(key: jax.Array, name: str) -> jax.Array: ...
def child_key(key: jax.Array | None, name: str) -> jax.Array | None:
    """The key of the child of that name: ``fold_in(key, crc32(name))``, the same in every process and on every run."""
    return None if key is None else jax.random.fold_in(key, np.uint32(zlib.crc32(name.encode())))


def specs(tree: Any) -> Any:
    """The tree with a ``ShapeDtypeStruct`` for each array, of the dtype that it has within a program: without 64 bits
    enabled, NumPy's float64 is float32 there.

    Example:
        >>> specs(np.ones((2, 3)))
        ShapeDtypeStruct(shape=(2, 3), dtype=float32)
    """

    def spec(leaf: Any) -> jax.ShapeDtypeStruct:
        extended = jnp.issubdtype(leaf.dtype, jax.dtypes.extended)  # keys
        dtype = leaf.dtype if extended else jax.dtypes.canonicalize_dtype(leaf.dtype)
        return jax.ShapeDtypeStruct(leaf.shape, dtype)

    return jax.tree.map(spec, tree)


def build(layer: LayerLike, key: jax.Array, x: Any, visit: Visit | None = None, path: str = "") -> Built:
    """The layer's parameters and state for inputs like ``x``, and the spec of its output.

    A combinator builds its children one after the other, so that a tree of layers costs one look at each leaf. Output
    specs come from ``jax.eval_shape``; no layer writes down its output shape.

    **Args** ``visit``: called with each leaf layer as a :class:`Part`; ``path``: where ``layer`` stands in the model.
    """
    x = specs(x)
    if isinstance(layer, Layer) and layer.build is not None:
        return layer.build(key, x, visit and _noting(visit, path, layer), path)
    with shapes_alone(kind_of(layer)):
        params, state = checked_initial(kind_of(layer), layer.init(key, x))
    # The key is needed only to train; the spec is the same in both modes.
    output, _ = jax.eval_shape(functools.partial(layer.apply, train=False), params, state, x)
    for path_in, _ in jax.tree.leaves_with_path((params, state)):
        for entry in path_in[1:]:
            check_name(kind_of(layer), getattr(entry, "key", None))
    built = Built(params, state, output)
    if visit is not None:
        visit(Part(path, layer, x, built))
    return built


def _noting(visit: Visit, path: str, layer: LayerLike) -> Visit:
    """The visit, told of one more layer around each part."""
    return lambda part: visit(part._replace(around=((path, layer), *part.around)))


def sublayer(layer: LayerLike, path: str) -> LayerLike:
    """The layer that stands at that path in a model: it is applied alone to the subtrees of that path.

    It looks into combinators that are given their children, such as :func:`jaxdl.sequential` and
    :func:`jaxdl.parallel`, and through :func:`jaxdl.remat`. What a combinator makes many of, as :func:`jaxdl.repeat`
    does, is no child: its parameters are stacked. Within a wrapper that changes parameters, such as :func:`jaxdl.tie`
    or :func:`jaxdl.lora`, no layer can be applied alone; the wrapper itself can.

    **Raises** ``ValueError`` for a path at which there is no layer, or one that leads into such a wrapper.

    Example:
        >>> from jaxdl import layers, sequential
        >>> model = sequential(("encoder", sequential(layers.dense(4), jnp.tanh)), ("decoder", layers.dense(9)))
        >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 9)))
        >>> sublayer(model, "encoder")
        sequential(dense(features=4), tanh)
        >>> sublayer(model, "encoder").apply(params["encoder"], {}, jnp.ones((2, 9)), train=False)[0].shape
        (2, 4)
    """
    if not isinstance(path, str):
        raise bad_value("sublayer", 'path must be a str, such as "encoder/dense"', path)
    for name in path.split("/"):
        children = _children_of(layer, path)
        if name not in children:
            names = ", ".join(children) or "it has none"
            raise bad_value("sublayer", f"path must name children of {kind_of(layer)} ({names})", repr(path))
        layer = children[name]
    return layer


def _children_of(layer: LayerLike, path: str) -> dict[str, LayerLike]:
    """The children that a combinator was given: those without a name, and those that are an argument of their own."""
    while isinstance(layer, Layer) and layer.wraps is not None:
        if layer.kind not in _KEEP_PARAMETERS:
            needs = f"path must not lead into {layer.kind}, which makes the parameters inside it of its own"
            hint = f"Did you mean to build the model without {layer.kind}?"
            raise bad_value("sublayer", needs, repr(path), hint)
        layer = lift(layer.kind, layer.wraps)
    if not isinstance(layer, Layer) or layer.build is None:
        return {}
    listed = [value for name, value in layer.args if not name]
    named = [(name, value) for name, value in layer.args if name not in _MADE_MANY_OF and hasattr(value, "apply")]
    return dict(name_children(layer.kind, [*listed, *named]))


class Children:
    """The named children of one combinator, built and applied one at a time, with names, keys and path notes.

    ``kind`` is the combinator's own, for the notes.
    """

    def __init__(self, kind: str, children: Sequence[Any]):
        self.kind = kind
        self.named = name_children(kind, children)

    def build_one(
        self, child: Child, key: jax.Array, x: Any, visit: Visit | None, path: str, params: Params, state: State
    ) -> Any:
        """Build a child, put its parameters and state (if it has any) under its name, and give its output's spec."""
        name, layer = child
        with located(self.kind, name, x):
            built = build(layer, child_key(key, name), x, visit, f"{path}/{name}" if path else name)
        if built.params:
            params[name] = built.params
        if built.state:
            state[name] = built.state
        return built.output

    def apply_one(
        self, child: Child, params: Params, state: State, x: Any, new_state: State, *, train: bool, key: Any
    ) -> Any:
        """Apply a child to ``x``, put its new state (if it has any) under its name, and give its output."""
        name, layer = child

        def run(state: State, x: Any) -> tuple[Any, State]:
            with inside(name):
                result = layer.apply(params.get(name, {}), state, x, train=train, key=child_key(key, name))
            return checked_result(name, result)

        with located(self.kind, name, x):
            y, child_state = watched(run, state.get(name, {}), x)
        if child_state:
            new_state[name] = child_state
        return y

    def prefill_one(
        self, child: Child, params: Params, state: State, x: Any, cache: dict[str, Any], *, length: int
    ) -> Any:
        """Let a child read the first positions, put its cache (if it has any) under its name, and give its output."""
        name, layer = child
        with located(self.kind, name, x), inside(name):
            y, child_cache = decoding_of(layer).prefill(params.get(name, {}), state.get(name, {}), x, length=length)
        if jax.tree.leaves(child_cache):
            cache[name] = child_cache
        return y

    def decode_one(self, child: Child, params: Params, cache: Any, x: Any, new_cache: dict[str, Any]) -> Any:
        """Let a child read the next positions, put its new cache (if any) under its name, and give its output."""
        name, layer = child
        with located(self.kind, name, x), inside(name):
            y, child_cache = decoding_of(layer).decode(params.get(name, {}), cache.get(name, {}), x)
        if jax.tree.leaves(child_cache):
            new_cache[name] = child_cache
        return y

    def build_chain(
        self, chain: Sequence[Child], key: jax.Array, x: Any, visit: Any, path: str, params: Params, state: State
    ) -> Any:
        """Build children one after the other, each on the output of the one before; the spec of the last."""
        for child in chain:
            x = self.build_one(child, key, x, visit, path, params, state)
        return x

    def apply_chain(
        self, chain: Sequence[Child], params: Params, state: State, x: Any, new_state: State, *, train: bool, key: Any
    ) -> Any:
        """Apply children one after the other; the output of the last."""
        for child in chain:
            x = self.apply_one(child, params, state, x, new_state, train=train, key=key)
        return x

    def prefill_chain(
        self, chain: Sequence[Child], params: Params, state: State, x: Any, cache: dict[str, Any], *, length: int
    ) -> Any:
        """Let children read the first positions one after the other; the output of the last."""
        for child in chain:
            x = self.prefill_one(child, params, state, x, cache, length=length)
        return x

    def decode_chain(
        self, chain: Sequence[Child], params: Params, cache: Any, x: Any, new_cache: dict[str, Any]
    ) -> Any:
        """Let children read the next positions one after the other; the output of the last."""
        for child in chain:
            x = self.decode_one(child, params, cache, x, new_cache)
        return x
