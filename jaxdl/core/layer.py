"""The record that holds a layer's functions, and the decorators that make it; :mod:`jaxdl.core.contract` says what a
layer is."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, overload

import jax

from jaxdl.core.contract import Apply, Build, Decoding, Init, Params, State
from jaxdl.core.errors import bad_type, given, shapes_alone, spelled_out
from jaxdl.core.identity import identity
from jaxdl.core.ragged import Ragged
from jaxdl.core.show import call_text
from jaxdl.core.spread import gathered

P = ParamSpec("P")


@dataclass(frozen=True, repr=False)
class Layer:
    """The record of a layer: ``init``, ``apply``, its kind and its arguments.

    Two layers built alike are equal and hash alike, so that a compiled program finds its twin; ``repr`` shows the
    constructor call. Make one with :func:`layer` or :func:`stateless`.

    **Fields** ``kind``: the constructor's name; ``args``: the arguments it was given, by name (those of a ``*args``
    under an empty name); ``init``, ``apply``: the contract of :mod:`jaxdl.core.contract`; ``build``: only combinators
    have it; ``decoding``: only layers that can read a sequence piece by piece; ``identity``: what equality compares;
    ``wraps``: what a wrapper has inside, after which it is named.
    """

    kind: str
    args: tuple[tuple[str, Any], ...] = field(compare=False)
    init: Init = field(compare=False)
    apply: Apply = field(compare=False)
    identity: Any
    build: Build | None = field(default=None, compare=False)
    decoding: Decoding | None = field(default=None, compare=False)
    wraps: Any = field(default=None, compare=False)

    def prefill(self, params: Params, state: State, x: Any, /, *, length: int) -> tuple[Any, Any]:
        """Read the first positions of a sequence: ``(y, cache)``, the cache with room for ``length`` in all."""
        return decoding_of(self).prefill(params, state, x, length=length)

    def decode(self, params: Params, cache: Any, x: Any, /) -> tuple[Any, Any]:
        """Read the next positions of a sequence: ``(y, cache)``."""
        return decoding_of(self).decode(params, cache, x)

    def __repr__(self) -> str:
        return call_text(self.kind, self.args)


def decoding_of(layer: Any) -> Decoding:
    """How a layer decodes, or an error that says that it cannot."""
    decoding = getattr(layer, "decoding", None)
    if decoding is None:
        needs = "a layer that reads a sequence piece by piece must say how (decoding)"
        raise bad_type(getattr(layer, "kind", type(layer).__name__), needs, layer)
    return decoding


def each_position(apply: Apply) -> Decoding:
    """The decoding of a layer that treats each position alone: its cache is its state."""

    def prefill(params: Params, state: State, x: Any, /, *, length: int) -> tuple[Any, State]:
        return apply(params, state, x, train=False)[0], state

    def decode(params: Params, cache: State, x: Any, /) -> tuple[Any, State]:
        return apply(params, cache, x, train=False)[0], cache

    return Decoding(prefill, decode)


def _described(make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The arguments of a call, by name; those of a ``*args`` one by one under an empty name."""
    signature = inspect.signature(make)
    items: list[tuple[str, Any]] = []
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            items += [("", item) for item in value]
        elif kind is inspect.Parameter.VAR_KEYWORD:
            items += value.items()
        else:
            items.append((name, tuple(value) if isinstance(value, list) else value))
    return tuple(items)


def _identity(make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a call's arguments come to, defaults included."""
    bound = inspect.signature(make).bind(*args, **kwargs)
    bound.apply_defaults()
    return identity(dict(bound.arguments))


def check_train(call: str, train: Any) -> None:
    """Raise unless ``train`` is a Python bool."""
    if isinstance(train, jax.core.Tracer):
        raise bad_type(
            call,
            "train must be a Python bool, known before the function is traced",
            "a traced value",
            "Did you mean jax.jit(partial(layer.apply, train=True))?",
        )
    if not isinstance(train, bool):
        raise bad_type(call, "train must be True or False", train)


def checked_result(call: str, result: Any) -> tuple[Any, State]:
    """What ``apply`` returned, if that is ``(y, state)``; else an error that says so."""
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
        raise bad_type(call, "apply must return two results, (y, state), where state is a dict", result)
    return result


def _checked_functions(call: str, made: Any, names: str = "(init, apply)", decodes: bool = True) -> Any:
    """What a constructor returned, if that is two functions, and, of a layer that decodes, its :class:`Decoding`."""
    third = made[2:] if isinstance(made, tuple) else ()
    if not isinstance(made, tuple) or len(made) < 2 or not all(map(callable, made[:2])):
        raise bad_type(call, f"a layer's constructor must return two functions, {names}", made)
    if len(third) > decodes or not all(decoding is None or isinstance(decoding, Decoding) for decoding in third):
        also = f" or ({names[1:-1]}, Decoding)" if decodes else ""
        raise bad_type(call, f"a layer's constructor must return {names}{also}", made)
    return made


def checked_initial(call: str, result: Any) -> tuple[Params, State]:
    """What ``init`` returned, if that is ``(params, state)``; else an error that says so."""
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
        likely = "Did you mean (params, {}), or @stateless in place of @layer?" if isinstance(result, dict) else ""
        raise bad_type(call, "init must return two results, (params, state), where state is a dict", result, likely)
    return result


def _record(make: Callable[..., Any], args: Any, kwargs: Any, build: bool, wraps: bool = False) -> Layer:
    kind = make.__name__
    try:
        described = _described(make, args, kwargs)
    except TypeError:
        make(*args, **kwargs)  # Python's own message names the function; the signature's does not.
        raise
    call = call_text(kind, described)
    call = f"{kind}(…)" if "\n" in call else call
    with spelled_out(kind, call):
        names = "(build, apply)" if build else "(init, apply)"
        first, raw_apply, *decoding = _checked_functions(call, make(*args, **kwargs), names)

    def apply(params: Params, state: State, x: Any, *, train: bool, key: jax.Array | None = None) -> tuple[Any, State]:
        check_train(call, train)
        with spelled_out(kind, call), given(call, params, state):
            if build:  # what is inside of it uses the parameters
                return checked_result(call, raw_apply(params, state, x, train=train, key=key))
            used = functools.partial(raw_apply, train=train)
            return checked_result(call, gathered(used, params, state, x, key=key))

    def init(key: jax.Array, x: Any) -> tuple[Params, State]:
        with spelled_out(kind, call), shapes_alone(call):
            return first(key, x, None, "")[:2] if build else checked_initial(call, first(key, x))

    for function in (init, apply):
        function.__qualname__ = f"{kind}.{function.__name__}"
        function.__doc__ = make.__doc__
    return Layer(
        kind,
        described,
        init,
        apply,
        (make, _identity(make, args, kwargs)),
        first if build else None,
        decoding[0] if decoding else None,
        described[0][1] if wraps else None,
    )


MAKES_A_LAYER = "__makes_a_layer__"
"""Marks constructors, so that one that was not called is told from a function of arrays."""


def layer(make: Callable[P, tuple[Init, Apply] | tuple[Init, Apply, Decoding]]) -> Callable[P, Layer]:
    """Make a layer constructor of a function that returns ``(init, apply)``.

    The function's name becomes the layer's kind, its bound arguments the layer's arguments. A layer that can read a
    sequence piece by piece gives a third result, its :class:`Decoding`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> @layer
        ... def noise(scale):
        ...     def init(key, x):
        ...         return {}, {}
        ...     def apply(params, state, x, *, train, key=None):
        ...         return (x + scale * jax.random.normal(key, x.shape) if train else x), state
        ...     return init, apply
        >>> noise(0.1), noise(0.1) == noise(scale=0.1)
        (noise(scale=0.1), True)
    """

    @functools.wraps(make)
    def construct(*args: P.args, **kwargs: P.kwargs) -> Layer:
        return _record(make, args, kwargs, build=False)

    setattr(construct, MAKES_A_LAYER, True)
    return construct


def combinator(make: Callable[P, tuple[Build, Apply] | tuple[Build, Apply, Decoding]]) -> Callable[P, Layer]:
    """Like :func:`layer`, for a function that returns ``(build, apply)``: its ``build`` also gives the output spec."""

    @functools.wraps(make)
    def construct(*args: P.args, **kwargs: P.kwargs) -> Layer:
        return _record(make, args, kwargs, build=True)

    setattr(construct, MAKES_A_LAYER, True)
    return construct


def wrapper(make: Callable[P, tuple[Build, Apply] | tuple[Build, Apply, Decoding]]) -> Callable[P, Layer]:
    """Like :func:`combinator`, for one whose first argument is the one layer that it wraps.

    It adds no level to paths, and unnamed it is called as that layer would be: wrapping a layer of a model changes
    neither its path nor its initial values.
    """

    @functools.wraps(make)
    def construct(*args: P.args, **kwargs: P.kwargs) -> Layer:
        return _record(make, args, kwargs, build=True, wraps=True)

    setattr(construct, MAKES_A_LAYER, True)
    return construct


@overload
def stateless(make: Callable[P, tuple[Callable[..., Params], Callable[..., Any]]]) -> Callable[P, Layer]: ...
@overload
def stateless(
    *, positionwise: bool
) -> Callable[[Callable[P, tuple[Callable[..., Params], Callable[..., Any]]]], Callable[P, Layer]]: ...
def stateless(make: Any = None, *, positionwise: bool = True) -> Any:
    """Lift ``init(key, x) -> params`` and ``apply(params, x) -> y`` into the layer contract.

    Most layers of one's own need no more. Over a :class:`Ragged` input they act on ``.x`` and keep the lengths, and
    they decode piece by piece, for which each position must be treated alone; ``@stateless(positionwise=False)`` says
    that it is not so, and makes both an error.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> @stateless
        ... def scale():
        ...     def init(key, x):
        ...         return {"gain": jnp.ones(x.shape[-1])}
        ...     def apply(params, x):
        ...         return x * params["gain"]
        ...     return init, apply
        >>> params, state = scale().init(jax.random.key(0), jnp.ones((2, 3)))
        >>> scale().apply(params, state, jnp.ones((2, 3)), train=False)[0].shape
        (2, 3)
    """
    if make is None:
        return functools.partial(stateless, positionwise=positionwise)

    @functools.wraps(make)
    def contract(*args: Any, **kwargs: Any) -> Any:
        kind = make.__name__
        simple_init, simple_apply = _checked_functions(kind, make(*args, **kwargs), decodes=False)

        def init(key: jax.Array, x: Any, /) -> tuple[Params, State]:
            params = simple_init(key, positions(kind, x, positionwise))
            if isinstance(params, tuple):
                needs = "init of a stateless layer must return the params alone"
                raise bad_type(kind, needs, params, "Did you mean @layer in place of @stateless?")
            return params, {}

        def apply(
            params: Params, state: State, x: Any, /, *, train: bool, key: jax.Array | None = None
        ) -> tuple[Any, State]:
            y = simple_apply(params, positions(kind, x, positionwise))
            return (Ragged(y, x.lengths) if isinstance(x, Ragged) else y), state

        return (init, apply, each_position(apply)) if positionwise else (init, apply)

    return layer(contract)


def positions(kind: str, x: Any, positionwise: bool = True) -> Any:
    """The array under a ragged batch, for a layer that treats each position alone; an error for one that does not."""
    if not isinstance(x, Ragged):
        return x
    if not positionwise:
        raise bad_type(kind, "input must be an array: this layer mixes positions", x)
    return x.x


def no_params(key: jax.Array, x: Any) -> Params:
    """The ``init`` of a stateless layer that has no parameters."""
    return {}
