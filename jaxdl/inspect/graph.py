"""A picture of a model."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxdl.core import LayerLike, Part, describe, specs
from jaxdl.core.children import kind_of
from jaxdl.core.extras import need
from jaxdl.inspect.layout import Box, Frame, Joint, Line, Piece, around, beside, box, chain, skipping
from jaxdl.inspect.places import find_parts
from jaxdl.inspect.plots import INK, new_figure, saved

_COLOURS = {
    "linear": "#dcecd9",
    "embedding": "#dcecd9",
    "conv": "#d6e6f5",
    "pool": "#e8e8e8",
    "shape": "#e8e8e8",
    "norm": "#fbf0cf",
    "recurrent": "#e6dcf2",
    "attention": "#e6dcf2",
    "feed_forward": "#dcecd9",
    "function": "#fbe3d6",
    "activation": "#fbe3d6",
}


def graph(model: LayerLike, x: Any, path: str | os.PathLike[str] | None = None) -> Any:
    """A picture of a model for inputs like ``x``: boxes for layers, arrows for what runs between them, frames for what
    is nested; a matplotlib ``Figure``.

    A ``residual`` has a line around it that is added, a ``branch`` its layers side by side, a ``repeat`` a frame with
    the number of its members, and each layer its path's last name, its call and the shape of its output. What a
    combinator of one's own does with its layers is drawn as one after the other.

    **Args** ``x``: an array or spec, or a pytree of them; ``path``: where to save the picture, if anywhere (``.png``,
    ``.svg`` or ``.pdf``).

    **Raises** ``ImportError`` without matplotlib.

    Example:
        >>> import jax, jax.numpy as jnp, jaxdl as dl
        >>> model = dl.sequential(dl.layers.dense(4), dl.residual(dl.layers.dense(4), jnp.tanh))
        >>> figure = graph(model, jnp.ones((2, 3)))
        >>> [text.get_text() for text in figure.axes[0].texts if text.get_text()][:4]
        ['input  float32[2,3]', 'dense(features=4)', 'float32[2,4]', 'residual']
    """
    parts = find_parts(model, x)
    root = _tree(model, parts)
    whole = chain([box("input  " + describe(specs(x)), "", "end"), _piece(root, top=True), box("output", "", "end")])
    margin = 0.2
    size = (whole.width + 2 * margin, whole.height + 2 * margin)
    figure = new_figure("graph", figsize=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-margin, whole.width + margin)
    axes.set_ylim(whole.height + margin, -margin)
    axes.axis("off")
    for mark in whole.marks:
        _draw(axes, mark)
    return saved(figure, path)


@dataclass
class _Node:
    """One layer of the model, and those within it."""

    path: str
    layer: Any
    part: Part | None = None
    inside: list["_Node"] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return getattr(self.layer, "kind", type(self.layer).__name__)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def _tree(model: LayerLike, parts: Sequence[Part]) -> _Node:
    """The layers as they are nested; wrappers are nodes of their own."""
    root = _Node("", model)
    for part in parts:
        around = [*part.around, (part.path, part.layer)]
        at = root
        for depth, (path, layer) in enumerate(around[1:], 1):
            last = at.inside[-1] if at.inside else None
            leaf = depth == len(around) - 1
            if last is None or leaf or last.path != path or last.layer is not layer:
                at.inside.append(_Node(path, layer))
            at = at.inside[-1]
        at.part = part
    return root


def _piece(node: _Node, top: bool = False) -> Piece:
    if node.part is not None and not node.inside:
        return box(_title(node), _output(node.part), _family(node.layer))
    titles = [_frame_title(node)]
    # Wrappers and stacks have the path of what they hold: one frame says both.
    while len(node.inside) == 1 and node.inside[0].path == node.path and node.inside[0].inside:
        node = node.inside[0]
        titles.append(_frame_title(node, named=False))
    kept = [title for title in titles if title != "sequential"]
    return around(_flow(node), ", ".join(kept or titles)) if kept or not top else _flow(node)


def _flow(node: _Node) -> Piece:
    """What is in the frame."""
    inside = [_piece(child) for child in node.inside]
    if node.kind == "residual":
        aside = [piece for piece, child in zip(inside, node.inside, strict=True) if child.name == "shortcut"]
        branch = [piece for piece, child in zip(inside, node.inside, strict=True) if child.name != "shortcut"]
        return skipping(chain(branch), aside[0] if aside else None)
    if node.kind in ("branch", "parallel", "mixture_of_experts") and inside:
        return beside(inside, _joint(node))
    if node.kind in ("transformer_block", "transformer_decoder_block"):
        return chain(_branches(node))
    return chain(inside)


def _branches(node: _Node) -> list[Piece]:
    """The residual branches of a transformer block: each part with its norm and its dropout."""
    by_name = {child.name: child for child in node.inside}
    pre_norm = dict(node.layer.args).get("pre_norm", True)
    found: list[Piece] = []
    for name in [name for name in by_name if f"{name}_norm" in by_name]:
        norm, part = _piece(by_name[f"{name}_norm"]), _piece(by_name[name])
        dropout = [_piece(by_name[f"{name}_dropout"])] if f"{name}_dropout" in by_name else []
        found.append(skipping(chain([*([norm] if pre_norm else []), part, *dropout]), None))
        if not pre_norm:
            found.append(norm)
    return found


def _title(node: _Node) -> str:
    call = repr(node.layer)
    call = call if "\n" not in call and len(call) <= 60 else f"{kind_of(node.layer)}(…)"
    own = node.name and node.name.rstrip("0123456789").rstrip("_") != kind_of(node.layer)
    return f"{node.name}: {call}" if own and node.name != call else call


def _frame_title(node: _Node, named: bool = True) -> str:
    arguments = dict(getattr(node.layer, "args", ()))
    title = node.kind
    if node.kind in ("repeat", "vmapped"):
        title = f"{node.kind} × {arguments['n']}"
    elif node.kind == "tie":
        title = "tie " + ", ".join(f"{tied} = {_owner(source)}" for tied, source in arguments["ties"].items())
    elif node.kind == "lora":
        title = f"lora, rank {arguments['rank']}"
    own = named and node.name and node.name.rstrip("0123456789").rstrip("_") != node.kind
    return f"{node.name}: {title}" if own else title


def _owner(source: Any) -> str:
    return source if isinstance(source, str) else source[0]


def _output(part: Part) -> str:
    return describe(part.built.output)


def _joint(node: _Node) -> str:
    if node.kind == "branch":
        return {"add": "+", "concat": "‖", "tuple": ","}[dict(node.layer.args).get("merge", "add")]
    return "," if node.kind == "parallel" else "Σ"


def _family(layer: Any) -> str:
    """The file of the layer's constructor: what it is coloured after."""
    identity = getattr(layer, "identity", None)
    make = identity[0] if isinstance(identity, tuple) and identity else None
    home = getattr(make, "__module__", "")
    if not str(home).startswith("jaxdl.layers."):
        return "function"
    return str(home).split(".")[2]


def _draw(axes: Any, mark: Any) -> None:
    patches = need("matplotlib.patches", "inspect.graph", extra="viz")
    if isinstance(mark, Box):
        if mark.family != "end":
            colour = next((c for name, c in _COLOURS.items() if name in mark.family), "#eeeeee")
            shape = patches.FancyBboxPatch(
                (mark.x, mark.y), mark.width, mark.height, "round,pad=0,rounding_size=0.06",
                facecolor=colour, edgecolor="#888888", linewidth=0.8, zorder=3,
            )  # fmt: skip
            axes.add_patch(shape)
        middle = mark.x + mark.width / 2
        line = 0.13 if mark.note else mark.height / 2
        axes.text(middle, mark.y + line, mark.title, ha="center", va="center", fontsize=7.5, color=INK, zorder=4)
        if mark.note:
            axes.text(middle, mark.y + 0.3, mark.note, ha="center", va="center", fontsize=6, color="#777777", zorder=4)
    elif isinstance(mark, Frame):
        shape = patches.FancyBboxPatch(
            (mark.x, mark.y), mark.width, mark.height, "round,pad=0,rounding_size=0.08",
            facecolor="none", edgecolor="#bbbbbb", linewidth=0.8, linestyle=(0, (4, 2)), zorder=1,
        )  # fmt: skip
        axes.add_patch(shape)
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        where = {"ha": "left", "va": "center", "fontsize": 6.5, "color": "#777777", "zorder": 4, "bbox": behind}
        axes.text(mark.x + 0.08, mark.y + 0.12, mark.title, **where)
    elif isinstance(mark, Joint):
        round_one = {"facecolor": "white", "edgecolor": "#888888", "linewidth": 0.8, "zorder": 3}
        axes.add_patch(patches.Circle((mark.x, mark.y), 0.1, **round_one))
        axes.text(mark.x, mark.y, mark.text, ha="center", va="center", fontsize=8, color=INK, zorder=4)
    elif isinstance(mark, Line):
        axes.plot(mark.x, mark.y, color="#888888", linewidth=0.9, zorder=2, solid_joinstyle="round")
        if mark.arrow:
            ends = list(zip(mark.x, mark.y, strict=True))[-2:]
            style = {
                "arrowstyle": "-|>,head_length=0.3,head_width=0.15",
                "color": "#888888",
                "shrinkA": 0,
                "shrinkB": 0,
            }
            axes.annotate("", ends[1], ends[0], arrowprops={**style, "linewidth": 0.9}, zorder=2)
