"""The one formula for errors: what was called, what it needs, what it got, where, and the likely mend."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

_TRAIL = "__jaxdl_trail__"


def describe(value: Any) -> str:
    """A short text for a value: ``float32[32,28,28,1]`` for arrays and specs, trees with such leaves, else ``repr``."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if hasattr(value, "__dataclass_fields__") and hasattr(value, "replace"):  # a pytree record, such as Ragged
        fields = ", ".join(f"{name}={describe(getattr(value, name))}" for name in value.__dataclass_fields__)
        return f"{type(value).__name__}({fields})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {describe(leaf)}" for name, leaf in value.items()) + "}"
    if type(value) in (tuple, list):
        body = ", ".join(map(describe, value))
        return f"({body})" if isinstance(value, tuple) else f"[{body}]"
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."


def _message(call: str, needs: str, got: Any, hint: str) -> str:
    shown = got if isinstance(got, str) else describe(got)
    return f"{call}: {needs}; got {shown}" + (f". {hint}" if hint else "")


def bad_value(call: str, needs: str, got: Any, hint: str = "") -> ValueError:
    """A ``ValueError`` in the house's formula; the caller raises it.

    >>> bad_value("dense", "features must be a positive int", 0)
    ValueError('dense: features must be a positive int; got 0')
    """
    return ValueError(_message(call, needs, got, hint))


def bad_type(call: str, needs: str, got: Any, hint: str = "") -> TypeError:
    """A ``TypeError`` in the house's formula; the caller raises it."""
    return TypeError(_message(call, needs, got, hint))


@contextmanager
def spelled_out(kind: str, call: str) -> Iterator[None]:
    """Within it, an error that begins with ``kind`` (``conv: …``) begins with the whole ``call`` instead.

    The functions of :mod:`jaxdl.functional` raise under their own name; the layer of that name knows its arguments.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        text = error.args[0] if error.args else None
        if isinstance(text, str) and text.startswith(f"{kind}: "):
            error.args = (call + text[len(kind) :], *error.args[1:])
        raise


def trail(error: Exception) -> str:
    """The path of the layer that an error came from, as :func:`located` noted it; empty where it did not."""
    path: str = getattr(error, _TRAIL, ("", "", None))[0]
    return path


@contextmanager
def shapes_alone(call: str) -> Iterator[None]:
    """Within it, an ``init`` that looks for values in a spec is told that there are none."""
    try:
        yield
    except (AttributeError, TypeError) as error:
        word = "init is to read x.shape and x.dtype alone; x need not hold values"
        told = any(word in note for note in getattr(error, "__notes__", ()))  # by the layer within
        if "ShapeDtypeStruct" in str(error) and not told:
            error.add_note(f"  {call}: {word}")
        raise


@contextmanager
def given(call: str, params: Any, state: Any) -> Iterator[None]:
    """Within it, a name that is looked up in vain is told beside those that the layer was given."""
    try:
        yield
    except KeyError as error:
        if not getattr(error, "__notes__", None):  # the innermost layer's
            error.add_note(f"  {call} was given the params {describe(params)} and the state {describe(state)}")
        raise


@contextmanager
def located(kind: str, name: str, x: Any) -> Iterator[None]:
    """Within it, an error is noted with the path of the child that raised it: once, and grown by each combinator.

    The note reads ``in sequential "encoder/conv_1", input float32[32,28,28,1]``: the outermost combinator, the path
    from it, and the input of the innermost child. The same name scopes the computation, so that profiles read alike.
    """
    try:
        with jax.named_scope(name):
            yield
    except Exception as error:
        path, spec, old = getattr(error, _TRAIL, ("", "", None))
        path = f"{name}/{path}" if path else name
        spec = spec or describe(x)
        note = f'  in {kind} "{path}", input {spec}'
        notes = [line for line in getattr(error, "__notes__", []) if line != old]
        error.__notes__ = [*notes, note]
        setattr(error, _TRAIL, (path, spec, note))
        raise
