"""Values and calls as a reader would write them."""

import functools
from collections.abc import Sequence
from typing import Any


def function_name(function: Any) -> str:
    """What a function is called: a partial after the function it wraps, a lambda ``lambda``."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return name.strip("<>")


def function_text(value: Any) -> str:
    """A value as a reader would write it: functions by name, partials with what they bind, all else by ``repr``."""
    if isinstance(value, functools.partial):
        bound = [*map(function_text, value.args), *(f"{k}={function_text(v)}" for k, v in value.keywords.items())]
        return f"partial({', '.join([function_text(value.func), *bound])})"
    if isinstance(value, tuple) and type(value) is tuple:
        return f"({', '.join(map(function_text, value))}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{function_text(k)}: {function_text(v)}' for k, v in value.items())}}}"
    if isinstance(value, type) or (callable(value) and not hasattr(value, "apply")):
        return function_name(value)
    return repr(value)


def call_text(kind: str, args: Sequence[tuple[str, Any]], width: int = 100) -> str:
    """``kind(name=value, …)`` on one line, or one argument a line where that is longer than ``width``."""
    items = [f"{name}={function_text(value)}" if name else function_text(value) for name, value in args]
    line = f"{kind}({', '.join(items)})"
    if len(line) <= width and "\n" not in line:
        return line
    body = "".join(f"    {item},\n".replace("\n", "\n    ").removesuffix("    ") for item in items)
    return f"{kind}(\n{body})"
