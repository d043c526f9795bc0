"""The rows of the migration guide, and the page that is made of them."""

from typing import NamedTuple

from jaxdl.interop.migration.figures import LOSSES, METRICS, PENALTIES
from jaxdl.interop.migration.layers import COMBINATORS, LAYERS
from jaxdl.interop.migration.training import TRAINING

TABLES = {
    "layers": LAYERS,
    "combine": COMBINATORS,
    "losses": LOSSES,
    "metrics": METRICS,
    "penalties": PENALTIES,
    "train": TRAINING,
}
"""The text of each room's rows."""


class Row(NamedTuple):
    """A public name and its counterparts, none or several in each library, and what differs."""

    name: str
    keras: tuple[str, ...]
    torch: tuple[str, ...]
    flax: tuple[str, ...]
    equinox: tuple[str, ...]
    differs: str


def rows(room: str) -> list[Row]:
    """The rows of one room, such as ``"layers"``.

    Example:
        >>> rows("layers")[0][:5]
        ('dense', ('layers.Dense',), ('nn.Linear',), ('Dense',), ('nn.Linear',))
    """
    found: list[Row] = []
    for line in TABLES[room].strip().split("\n"):
        if line.startswith(" "):
            before = found[-1].differs
            found[-1] = found[-1]._replace(differs=f"{before} {line.strip()}".strip())
        else:
            name, *cells = (cell.strip() for cell in line.split("|"))
            keras, torch, flax, equinox = (
                tuple(cell.replace(" ", "").split(",")) if cell != "–" else () for cell in cells
            )
            found.append(Row(name, keras, torch, flax, equinox, ""))
    return found


HEAD = """\
# Coming from Keras, PyTorch, Flax or Equinox

Written by `python -m jaxdl.interop.migration`.

Weights come over with `jaxdl.interop`: `from_torch(model, x, module.state_dict())`, `from_keras(model, x,
model.get_weights())`, `from_flax(model, x, variables)`; `to_torch`, `to_keras` and `to_flax` go back.

What holds everywhere: a layer is a pair of functions, `init(key, x) -> (params, state)` and `apply(params, state, x, *,
train, key) -> (y, state)`. Channels are last. Sizes of inputs are never said: `init` reads them off. `train` has no
default. Losses give values, one for each example or element, and are never reduced. Sequences of different length are
`Ragged(x, lengths)`, not masks.

Names of Keras are under `keras`, of PyTorch under `torch`, of Flax under `flax.linen` and of Equinox under `equinox`,
but for those that begin with `jax`, `optax` or `lightning`.
"""

TITLES = {
    "layers": "Layers (`jaxdl.layers`)",
    "combine": "Combinators (`jaxdl.combine`)",
    "losses": "Losses (`jaxdl.losses`)",
    "metrics": "Metrics (`jaxdl.metrics`)",
    "penalties": "Penalties (`jaxdl.penalties`)",
    "train": "Training (`jaxdl.train`)",
}


def guide() -> str:
    """The whole guide as Markdown.

    Example:
        >>> guide().splitlines()[0]
        '# Coming from Keras, PyTorch, Flax or Equinox'
    """
    lines = [HEAD]
    for room, title in TITLES.items():
        lines += [f"## {title}\n", "| jaxdl | Keras | PyTorch | Flax | Equinox | what differs |", "|" + " --- |" * 6]
        for row in rows(room):
            cells = ["<br>".join(f"`{name}`" for name in names) or "–" for names in row[1:-1]]
            lines.append(f"| `{row.name}` | {' | '.join(cells)} | {row.differs} |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"
