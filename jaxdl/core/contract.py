"""What a layer is: two pure functions over explicit pytrees.

The contract::

    init(key, x)                                  -> (params, state)
    apply(params, state, x, *, train, key=None)   -> (y, state)

- ``x`` is an array or a ``jax.ShapeDtypeStruct``, or a pytree of them. ``init`` reads shapes and dtypes, never values.
- ``params`` and ``state`` are nested dicts with ``str`` keys and array leaves; a layer that has none gives ``{}``.
- ``apply`` always returns two results. The new state has the tree, shapes and dtypes of the old one.
- ``train`` is a Python bool, by keyword, without a default. Under a transform, bind it first:
  ``jax.jit(partial(layer.apply, train=True))``. There is no other mode flag and there are no ``**kwargs``.
- ``key`` is needed only by layers that draw random numbers while they train.
- A state entry whose name begins with ``*`` (:data:`jaxdl.core.watch.WATCH`) is reserved: by it
  :func:`jaxdl.inspect.intermediates` and its like ask for what passes through a layer, and what comes back under it is
  of another tree than what went in. ``core.children.Children`` answers it. A combinator that carries the state of what
  it holds through a loop of its own (``lax.scan``) cannot be seen into, which is then an error of theirs; a stack gives
  the new state as the loop's output (``core.watch.watched_member``).
- A state leaf named ``aux_loss`` is added to the loss by :func:`jaxdl.supervised`, and reset after each step.
- What only decoding needs is not state. A layer that reads a sequence piece by piece has a :class:`Decoding` as well::

      prefill(params, state, x, *, length)      -> (y, cache)
      decode(params, cache, x)                  -> (y, cache)

Anything with the two methods is a layer: the record :class:`jaxdl.Layer` that the decorators make, or a frozen
dataclass.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

Params = dict[str, Any]
State = dict[str, Any]


class Init(Protocol):
    """``init(key, x) -> (params, state)``: fresh parameters and state for inputs shaped like ``x``."""

    def __call__(self, key: jax.Array, x: Any, /) -> tuple[Params, State]: ...


class Apply(Protocol):
    """``apply(params, state, x, *, train, key=None) -> (y, state)``: the layer's function, pure."""

    def __call__(
        self, params: Params, state: State, x: Any, /, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, State]: ...


class LayerLike(Protocol):
    """Whatever has ``init`` and ``apply`` as the contract above states them, and can be hashed."""

    @property
    def init(self) -> Init: ...

    @property
    def apply(self) -> Apply: ...


class Built(NamedTuple):
    """What a layer makes of an input spec: its parameters, its state and the spec of its output."""

    params: Params
    state: State
    output: Any


class Part(NamedTuple):
    """One leaf layer of a model as :func:`jaxdl.core.build` met it, in order: for summaries and for interop.

    **Fields** ``stacks``: the path and the number of members of each stack that it is a member of, outermost first;
    ``built`` has a leading axis for each. ``around``: the path of each combinator and wrapper that it is in, and the
    record, outermost first.
    """

    path: str
    layer: LayerLike
    input: Any
    built: Built
    stacks: tuple[tuple[str, int], ...] = ()
    around: tuple[tuple[str, Any], ...] = ()


Visit = Callable[[Part], None]


class Build(Protocol):
    """A combinator's ``init`` that also gives the output spec, so that nesting costs linear time."""

    def __call__(self, key: jax.Array, x: Any, visit: Visit | None, path: str, /) -> Built: ...


class Prefill(Protocol):
    """``prefill(params, state, x, *, length) -> (y, cache)``: what ``apply(…, train=False)`` gives for the first
    positions of a sequence, and a cache with room for ``length`` positions in all.

    ``x`` holds whole pieces of time, ``(batch, time, …)``, also of no time; a :class:`jaxdl.Ragged` one goes on at each
    example's own length.
    """

    def __call__(self, params: Params, state: State, x: Any, /, *, length: int) -> tuple[Any, Any]: ...


class Decode(Protocol):
    """``decode(params, cache, x) -> (y, cache)``: the outputs for the next ``x: (batch, time, …)`` positions."""

    def __call__(self, params: Params, cache: Any, x: Any, /) -> tuple[Any, Any]: ...


class Decoding(NamedTuple):
    """How a layer reads a sequence piece by piece: piece after piece equals one full pass, without training."""

    prefill: Prefill
    decode: Decode
