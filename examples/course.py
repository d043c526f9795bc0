"""What all scripts of the course do alike: options, the folder for what they write, pictures, and the result.

parser = course.parser(__doc__, "05_mlp", ["digits", "mnist"])       # --dataset, --seed, --out
parser.add_argument("--epochs", type=int, default=10)                # and the script's own
args = course.parse(parser)
…
course.report(args.out, [course.Result("MLP", args.dataset, course.count(params), "test accuracy", 98.3, "%", 12.5)])
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import jaxdl as dl


@dataclasses.dataclass(frozen=True)
class Result:
    """One row of ``result.json``.

    **Fields** ``system``: what was trained; ``data``: on which set; ``parameters``: how many, or None; ``figure``: what
    was measured, such as ``"test accuracy"``; ``value``, in ``unit`` (``"%"``, ``"nats"``, ``""``); ``seconds``: of
    training, 0 of what is not trained.
    """

    system: str
    data: str
    parameters: int | None
    figure: str
    value: float
    unit: str
    seconds: float

    def __str__(self) -> str:
        size = "" if self.parameters is None else f", {self.parameters:,} parameters"
        value = f"{self.value:.2f} %" if self.unit == "%" else f"{self.value:.4g} {self.unit}".rstrip()
        time = f" ({self.seconds:.1f} s)" if self.seconds else ""
        return f"result: {self.system} on {self.data}{size}: {self.figure} {value}{time}"


def parser(doc: str | None, name: str, datasets: Sequence[str] = ()) -> argparse.ArgumentParser:
    """A parser with the script's docstring as help, ``--seed``, ``--out`` (``runs/name``) and, where there are some to
    choose from, ``--dataset`` (the first by default)."""
    formatter = argparse.RawDescriptionHelpFormatter
    found = argparse.ArgumentParser(description=doc, formatter_class=formatter)
    if datasets:
        found.add_argument("--dataset", choices=datasets, default=datasets[0], help=f"default: {datasets[0]}")
    found.add_argument("--seed", type=int, default=0, help="of the initial values, the order and the splits")
    found.add_argument("--out", type=Path, default=Path("runs") / name, help=f"folder, default: runs/{name}")
    return found


def parse(parser: argparse.ArgumentParser, words: Sequence[str] | None = None, **least: int) -> argparse.Namespace:
    """The options of the command line, once ``--out`` is a folder that can be written. What is whole is 1 or more,
    the seed 0 or more, and an option of ``least`` as much as that says."""
    args = parser.parse_args(words)
    for name, value in vars(args).items():
        values = value if isinstance(value, list) else [value]
        lowest = least.get(name, 0 if name == "seed" else 1)
        if any(type(number) is int and number < lowest for number in values):
            parser.error(f"--{name.replace('_', '-')} must be {lowest} or more, got {', '.join(map(str, values))}")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / ".writable").touch()
        (args.out / ".writable").unlink(missing_ok=True)  # of several processes another may have done it
    except OSError as error:
        parser.error(f"--out {args.out}: cannot write there ({error.strerror})")
    return args


def images(name: str, seed: int) -> tuple[Any, Any]:
    """Training and test part of ``dl.data.digits``, split by the seed, ``mnist``, ``fashion_mnist`` or
    ``cifar10_subset``."""
    return dl.data.digits(seed=seed) if name == "digits" else getattr(dl.data, name)()


def split(train: Any, share: float, seed: int) -> tuple[Any, Any]:
    """The training part without a share of it, drawn by the seed, and that share; None for a share of 0."""
    return dl.data.split(train, share, seed=seed) if share else (train, None)


def unseen(part: dict[str, Any], test: dict[str, Any]) -> dict[str, Any]:
    """The examples of ``part`` whose text is not in ``test``, each text once."""
    others = set(test["x"])
    first = {text: row for row, text in reversed([*enumerate(part["x"])]) if text not in others}
    rows = sorted(first.values())
    return {"x": [part["x"][row] for row in rows], "y": part["y"][rows]}


def report(out: Path, results: Sequence[Result]) -> None:
    """Write ``result.json``, say which files are in the folder, and print a line for each result."""
    rows = [dataclasses.asdict(result) | {"value": float(result.value)} for result in results]
    (out / "result.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{out}/ holds {', '.join(sorted(path.name for path in out.iterdir()))}")
    for result in results:
        print(result)


def seconds(history: dict[str, list[Any]]) -> float:
    """How long the training took. Where Ctrl-C came before its first steps were done, there is nothing to show: the
    script ends."""
    if not history:
        raise SystemExit("stopped before the first steps were done: nothing to show")
    return sum(history["seconds"])


def count(params: Any) -> int:
    """How many numbers a tree of parameters holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, which belongs to no window: ``figure.subplots(1, 2)``,
    ``figure.savefig(args.out / "picture.png", dpi=120)``."""
    return Figure((width, height), layout="constrained")


def sheet(axes: Axes, images: np.ndarray, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> None:
    """Draw grey images in [0, 1], ``(rows, columns, height, width, 1)``, as one sheet, black on white, with a name for
    each row and each column where they are given."""
    down, _, height, width, _ = images.shape
    framed = np.pad(images[..., 0], [(0, 0), (0, 0), (1, 1), (1, 1)])
    axes.imshow(framed.swapaxes(1, 2).reshape(down * (height + 2), -1), cmap="gray_r", vmin=0, vmax=1)
    axes.set_yticks((np.arange(len(rows)) + 0.5) * (height + 2) - 0.5, rows)
    axes.set_xticks((np.arange(len(columns)) + 0.5) * (width + 2) - 0.5, columns)
    axes.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
