"""A model's layers, output shapes, parameter counts and costs, as a table."""

import io
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from jaxdl.core import LayerLike, Part, Ragged, bad_value, build, describe, flat_paths, select, specs
from jaxdl.inspect.operations import by_path, in_all, operations_by_name
from jaxdl.inspect.page import table_page

LEAST_WIDTH = 60
"""Columns of a terminal, below which a table would cut numbers."""


@dataclass(frozen=True)
class Line:
    """One leaf layer of a summary.

    **Fields** ``path``, ``layer`` (its call), ``output`` (of one member, where it stands in a stack), ``parameters``
    and ``state`` (numbers in all members), ``flops`` of its forward pass, ``parameter_bytes``, ``output_bytes`` (in all
    members), ``notes``: ``repeat × n``, ``vmapped × n``, ``remat``, ``tied …``, ``lora …``, ``frozen``.
    """

    path: str
    layer: str
    output: str
    parameters: int
    state: int
    flops: int
    parameter_bytes: int
    output_bytes: int
    notes: tuple[str, ...]


class Summary(str):
    """The text of a summary, with its figures: ``lines``, ``flops`` and, where it was compiled, ``memory``; a notebook
    shows it as a table."""

    lines: tuple[Line, ...]
    flops: int
    memory: dict[str, int]
    foot: tuple[str, ...]

    def html(self) -> str:
        """The table as a piece of HTML that needs nothing else."""
        head = ("path", "layer", "output", "parameters", "state", "FLOPs", "parameter bytes", "output bytes", "notes")
        rows = [
            (line.path, line.layer, line.output, *map(_number, (line.parameters, line.state)), _big(line.flops, ""),
             _bytes(line.parameter_bytes), _bytes(line.output_bytes), ", ".join(line.notes))
            for line in self.lines
        ]  # fmt: skip
        return table_page(head, rows, "; ".join(self.foot))

    _repr_html_ = html


def summary(
    model: LayerLike,
    x: Any,
    *,
    width: int | None = None,
    frozen: str | Sequence[str] | None = None,
    compiled: bool = False,
) -> Summary:
    """A table of a model for inputs like ``x``: each layer's path, call, output, parameters and operations.

    Nothing is computed: shapes come from ``jax.eval_shape``, and the floating-point operations of the forward pass from
    the program (see :func:`jaxdl.inspect.count_operations`). It is a ``str``; ``.lines`` has the figures, and a
    notebook shows them, with the bytes of parameters and outputs, as a table (``.html()``).

    **Args** ``x``: an array or spec, or a pytree of them; ``width``: of the text, in characters, by default the
    terminal's, from 80 to 120, and 120 where there is none. ``frozen``: globs of parameters, as :func:`jaxdl.freeze`
    takes them, to be marked and counted. ``compiled``: compile the forward pass, and say how much memory its program
    takes.

    **Raises** ``ValueError`` for a glob that matches no parameter, and for a width below 60.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl import layers, sequential
        >>> print(summary(sequential(layers.dense(4), jax.nn.relu), jnp.ones((1, 3)), width=72))
        ┏━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━┓
        ┃ path  ┃ layer             ┃ output       ┃ parameters ┃ FLOPs ┃
        ┡━━━━━━━╇━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━┩
        │ dense │ dense(features=4) │ float32[1,4] │         16 │    28 │
        │ relu  │ relu              │ float32[1,4] │          – │     4 │
        └───────┴───────────────────┴──────────────┴────────────┴───────┘
        32 FLOPs forward, 32 B of outputs
        16 parameters, 64 B
    """
    columns, parts = _columns(width), list[Part]()

    def visit(key: jax.Array) -> Any:
        built = build(model, key, specs(x), parts.append)
        return built.params, built.state

    params, state = jax.eval_shape(visit, jax.eval_shape(jax.random.key, 0))
    still = _frozen(params, frozen)
    forward = partial(model.apply, train=False)
    counts = operations_by_name(forward, params, state, specs(x))
    each = by_path(counts, {part.path for part in parts})
    lines = tuple(_line(part, each[part.path].flops if part.path in each else 0, still) for part in parts)
    memory = _memory(forward, params, state, specs(x)) if compiled else {}
    total = in_all(counts.values())
    outputs = _bytes(sum(line.output_bytes for line in lines))
    rounds = ", with one round of each loop of unknown length" if total.open_loops else ""
    foot = [f"{_big(total.flops, '')} FLOPs forward, {outputs} of outputs{rounds}"]
    if memory:
        foot.append("compiled: " + ", ".join(f"{_bytes(size)} of {name}" for name, size in memory.items()))
    kept = sum(leaf.size for path, leaf in flat_paths(params).items() if path in still)
    still_so = f", {kept:,} of them frozen" if kept else ""
    held = _count(state)
    aside = f", and {held:,} number{'' if held == 1 else 's'} of state" if held else ""
    foot.append(f"{_count(params):,} parameters, {_bytes(_size(params))}{still_so}{aside}")
    result = Summary(_text(lines, columns, bool(_count(state))) + "\n".join(foot))
    result.lines, result.flops, result.memory, result.foot = lines, total.flops, memory, tuple(foot)
    return result


def _line(part: Part, flops: int, still: set[str]) -> Line:
    members, output = math.prod(n for _, n in part.stacks), part.built.output
    return Line(
        part.path,
        repr(part.layer),
        f"ragged {describe(output.x)}" if isinstance(output, Ragged) else describe(output),
        _count(part.built.params),
        _count(part.built.state),
        flops,
        _size(part.built.params),
        members * _size(output),
        (*_notes(part), *_frozen_note(part, still)),
    )


def _notes(part: Part) -> list[str]:
    """What the layers around a part make of it."""
    found: list[str] = []
    for path, layer in part.around:
        kind, arguments = getattr(layer, "kind", ""), dict(getattr(layer, "args", ()))
        if kind in ("repeat", "vmapped"):
            found.append(f"{kind} × {arguments['n']}")
        elif kind == "remat":
            found.append("remat")
        elif kind == "lora" and "lora" in part.built.params:
            found.append(f"lora rank {arguments['rank']}")
        elif kind == "tie":
            found += _ties(part.path, path, arguments["ties"])
    return found


def _ties(path: str, tied_from: str, ties: Any) -> list[str]:
    here = f"{path.removeprefix(tied_from).strip('/')}/" if path != tied_from else ""
    owners = {tied: source if isinstance(source, str) else source[0] for tied, source in ties.items()}
    mine = {tied: owner for tied, owner in owners.items() if tied.startswith(here)}
    return [f"{tied.removeprefix(here)} tied to {owner}" for tied, owner in mine.items()]


def _frozen(params: Any, frozen: str | Sequence[str] | None) -> set[str]:
    """The paths of the parameters that match."""
    if frozen is None:
        return set()
    return {path for path, chosen in flat_paths(select("summary", params, frozen)).items() if chosen}


def _frozen_note(part: Part, still: set[str]) -> list[str]:
    """Whether all or some of a part's parameters are frozen; those of an adapted layer lie under ``base``."""
    wrapped = [path for path, layer in part.around if getattr(layer, "kind", "") == "lora"]
    top = wrapped[0] if wrapped else part.path
    inner = part.path.removeprefix(top).strip("/")

    def whole(path: str) -> str:
        head, _, tail = path.partition("/")
        names = (top, head, inner, tail) if wrapped and head in ("base", "lora") else (part.path, path)
        return "/".join(filter(None, names))

    mine = {whole(path) for path in flat_paths(part.built.params)}
    found = mine & still
    if not found:
        return []
    return ["frozen" if found == mine else "frozen in part"]


def _memory(forward: Any, *arguments: Any) -> dict[str, int]:
    """What the compiled program of the forward pass takes, in bytes."""
    found = jax.jit(forward).lower(*arguments).compile().memory_analysis()
    names = {"arguments": "argument", "results": "output", "working memory": "temp", "code": "generated_code"}
    return {} if found is None else {name: getattr(found, f"{key}_size_in_bytes") for name, key in names.items()}


def _text(lines: Sequence[Line], width: int, with_state: bool) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    paths = [_broken(line.path, width // 4) for line in lines]  # whole: it is what globs are written after
    table.add_column("path", no_wrap=True)
    table.add_column("layer", overflow="fold")
    table.add_column("output", overflow="fold")
    columns = {"parameters": [_number(line.parameters) for line in lines]}
    if with_state:
        columns["state"] = [_number(line.state) for line in lines]
    columns["FLOPs"] = [_big(line.flops, "") if line.flops else "–" for line in lines]
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    if any(line.notes for line in lines):
        table.add_column("notes")
        columns["notes"] = [", ".join(line.notes) for line in lines]
    for row, line in enumerate(lines):
        table.add_row(paths[row], line.layer, line.output, *(column[row] for column in columns.values()))
    page = io.StringIO()
    Console(file=page, width=width).print(table)
    return page.getvalue()


def _columns(width: int | None) -> int:
    """How many characters a table may be wide: as asked, or as the terminal is, within limits."""
    if width is None:
        return min(max(shutil.get_terminal_size((120, 24)).columns, 80), 120)
    if width < LEAST_WIDTH:
        raise bad_value("summary", f"width must be {LEAST_WIDTH} or more, for the numbers' sake", width)
    return width


def _broken(path: str, width: int) -> str:
    """A path in lines of at most so many characters, broken behind its slashes, and within a name that is longer."""
    lines = [""]
    for part in re.findall("[^/]+/?|/", path):
        for piece in (part[start : start + width] for start in range(0, len(part), width)):
            if len(lines[-1] + piece) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(lines)


def _number(count: int) -> str:
    return f"{count:,}" if count else "–"


def _count(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _size(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _bytes(size: int) -> str:
    return _big(size, "B")


def _big(size: int, unit: str) -> str:
    power = min(max(len(str(size)) - 1, 0) // 3, 4)
    text = f"{size}" if not power else f"{size / 1000**power:.1f}"
    prefix = ("", "K" if unit else "k", "M", "G", "T")[power]
    return f"{text} {prefix}{unit}".rstrip() if unit or power else text
