"""Pictures of training and of what a classifier does. Each gives a matplotlib ``Figure``; ``path`` saves it as well."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxdl.core import bad_value
from jaxdl.core.extras import need
from jaxdl.train.rates import Rates

INK, GRID = "#333333", "#dddddd"


def new_figure(call: str, **arguments: Any) -> Any:
    """An empty figure, which belongs to no window."""
    return need("matplotlib.figure", f"inspect.{call}", extra="viz").Figure(**arguments)


def _figure(call: str, **arguments: Any) -> Any:
    return new_figure(call, layout="constrained", **arguments)


def saved(figure: Any, path: str | os.PathLike[str] | None) -> Any:
    """The figure, saved as well where a path is given."""
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def plot_history(history: Mapping[str, Sequence[Any]], path: str | os.PathLike[str] | None = None) -> Any:
    """Learning curves: a panel for each metric of one figure, training and validation on the same axes.

    **Args** ``history``: as :func:`jaxdl.fit` returns it; ``path``: where to save a picture, if anywhere.

    Example:
        >>> figure = plot_history({"epoch": [1, 2], "loss": [1.0, 0.5], "validation_loss": [0.9, 0.6]})
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['loss']
    """
    history = {name: column for name, column in history.items() if not any(np.ndim(value) for value in column)}
    aside = ("epoch", "steps", "seconds")
    names = [name for name in history if name not in aside and not name.startswith("validation_")]
    if not names:
        raise bad_value("plot_history", "history must hold at least one epoch with a metric", sorted(history))
    figure = _figure("plot_history", figsize=(4.6 * len(names), 3.4))
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        _curve(axes, history["epoch"], history[name], "training", "#1f77b4")
        held_out = history.get(f"validation_{name}")
        if held_out is not None:
            _curve(axes, history["epoch"], held_out, "validation", "#d95f02")
        axes.set_xlabel("epoch")
        axes.set_ylabel(name.replace("_", " "))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color=GRID, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return saved(figure, path)


def _curve(axes: Any, epochs: Sequence[int], values: Sequence[float | None], label: str, color: str) -> None:
    heights = np.array([np.nan if value is None else value for value in values], float)
    marker = "o" if len(heights) <= 40 else ""
    axes.plot(epochs, heights, marker=marker, markersize=3, linewidth=1.6, label=label, color=color)


def plot_rates(found: Rates, path: str | os.PathLike[str] | None = None) -> Any:
    """The loss over the learning rate, raw and smoothed, with the suggested rate marked.

    **Args** ``found``: as :func:`jaxdl.find_learning_rate` returns it; ``path``: where to save a picture, if anywhere.

    Example:
        >>> from jaxdl.train import Rates
        >>> rates, losses = np.array([0.01, 0.1, 1.0]), np.array([2.0, 1.0, 3.0])
        >>> plot_rates(Rates(rates, losses, losses, suggestion=0.1)).axes[0].get_xscale()
        'log'
    """
    figure = _figure("plot_rates", figsize=(5.6, 3.6))
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color="#b8cfe0", linewidth=1, label="loss of a batch")
    axes.plot(found.rates, found.smoothed, color="#1f77b4", linewidth=1.8, label="smoothed")
    if found.suggestion is not None:
        axes.axvline(found.suggestion, color="#d95f02", linewidth=1.4, label=f"suggestion {found.suggestion:.2g}")
    axes.set_xscale("log")
    low, high = found.smoothed.min(), found.smoothed[0]
    margin = 0.1 * max(high - low, 1e-12)
    axes.set_ylim(min(low, found.losses[found.losses <= high].min(initial=low)) - margin, high + 5 * margin)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.grid(color=GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return saved(figure, path)


def plot_confusion(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: Sequence[str] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """The confusion matrix: rows are true classes, columns predicted ones, cells counts, shades shares of the row.

    **Shapes** ``labels``, ``predictions``: ``(n,)`` of integer classes.

    Example:
        >>> figure = plot_confusion(np.array([0, 1, 1]), np.array([0, 1, 0]))
        >>> figure.axes[0].get_title()
        'accuracy 66.67 % of 3'
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1 or not labels.size:
        raise bad_value("plot_confusion", "labels and predictions must be (n,) alike", (labels, predictions))
    count = max(int(labels.max()), int(predictions.max())) + 1
    names = list(classes) if classes is not None else [str(index) for index in range(count)]
    matrix = need("sklearn.metrics", "inspect.plot_confusion", extra="viz").confusion_matrix(
        labels, predictions, labels=range(len(names))
    )
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = 1.6 + 0.5 * len(names)
    figure = _figure("plot_confusion", figsize=(side, side))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(matrix):
        shade = "white" if shares[row, column] > 0.5 else INK
        axes.text(column, row, matrix[row, column], ha="center", va="center", color=shade, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"accuracy {100 * (labels == predictions).mean():.2f} % of {len(labels)}")
    return saved(figure, path)


def plot_mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    logits: np.ndarray,
    classes: Sequence[str] | None = None,
    most: int = 24,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """The worst mistakes: the wrongly classified images with the highest cross entropy, worst first.

    **Shapes** ``images: (n, height, width, 1 or 3)`` in [0, 1], ``labels: (n,)``, ``logits: (n, classes)``.

    Example:
        >>> figure = plot_mistakes(np.zeros((2, 4, 4, 1)), np.array([0, 1]), np.array([[0.0, 3.0], [0.0, 3.0]]))
        >>> [axes.get_title() for axes in figure.axes]
        ['0\\ntaken for 1, 95 %']
    """
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(1, keepdims=True)
    log_shares = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    predicted = logits.argmax(1)
    loss = -log_shares[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-loss[wrong], kind="stable")][:most]
    columns = max(1, min(8, len(worst)))
    rows = max(1, -(-len(worst) // columns))
    figure = _figure("plot_mistakes", figsize=(1.5 * columns, 1.9 * rows))
    if not len(worst):
        figure.text(0.5, 0.5, "no mistakes", ha="center", va="center", color=INK)
        return saved(figure, path)
    names = list(classes) if classes is not None else [str(index) for index in range(logits.shape[1])]
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, index in zip(grid, worst, strict=False):
        axes.imshow(images[index].squeeze(), cmap="gray_r", vmin=0, vmax=1)
        sure = 100 * np.exp(log_shares[index, predicted[index]])
        axes.set_title(f"{names[labels[index]]}\ntaken for {names[predicted[index]]}, {sure:.0f} %", fontsize=7)
        axes.axis("off")
    for axes in grid[len(worst) :]:
        axes.remove()
    return saved(figure, path)
