"""Saved results as a picture; needs matplotlib."""

from pathlib import Path
from typing import Any

from benchmarks import targets
from benchmarks.results import Record, Results
from benchmarks.targets import OURS

COLOURS = {
    "jaxdl": "#0072B2",
    "plain": "#999999",
    "torch": "#D55E00",
    "torch_compile": "#E69F00",
    "nnx": "#009E73",
    "equinox": "#CC79A7",
    "keras": "#000000",
    "keras_steps": "#8C6D00",
    "jaxdl, repeat": "#56B4E9",
    "jaxdl, repeat and remat": "#E69F00",
    "vmapped": "#0072B2",
    "loop": "#999999",
}
"""Okabe and Ito's, which everyone tells apart."""

MARKERS = dict(zip(COLOURS, "ox^v<>sPsDoX", strict=True))


def draw(results: Results, path: Path) -> None:
    """The comparison, or the curves, whichever there are; both one under the other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure = _comparison(plt, results) if results.measured else _curves(plt, results.curves)
    figure.savefig(path, dpi=90, bbox_inches="tight")
    plt.close(figure)


def _comparison(plt: Any, results: Results) -> Any:
    """Left: our time over the best peer's, with what it shall be. Right: per cent of the limit, ours and theirs."""
    names = [name for name in results.workloads if results.ratio(name, results.best_peer(name)) is not None]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 1.6 + 0.42 * len(names)), width_ratios=(3, 2), sharey=True)
    places = range(len(names))
    found = [results.ratio(name, results.best_peer(name)) or 0.0 for name in names]
    left.barh(places, found, height=0.62, color=COLOURS[OURS], label=OURS)
    left.axvline(1, color="black", linewidth=1.2)
    _ticks(left, places, [targets.at_most(name) for name in names], "#D55E00", "at most")
    _ticks(left, places, [targets.aim(name) for name in names], "#E69F00", "aim")
    room = max([1.3, *found]) * 1.02
    for at, (name, ratio) in enumerate(zip(names, found, strict=True)):
        colour = "#D55E00" if ratio > targets.at_most(name) else "black"
        told = f"{ratio:.2f} of {results.best_peer(name)}"
        left.text(max(ratio, 1.0) + 0.02, at, told, va="center", fontsize=8, color=colour)
    left.set(
        yticks=list(places), yticklabels=names, xlim=(0, room + 0.35), title=f"Time of {OURS} over the best peer's"
    )
    left.set_xlabel("below 1: faster than the best peer")
    left.invert_yaxis()
    most = 0.0
    for shift, (who, label) in enumerate(((OURS, OURS), (None, "best peer"))):
        shares = [results.of_limit(name, who or str(results.best_peer(name))) for name in names]
        heights = [at + (shift - 0.5) * 0.34 for at in places]
        colour = COLOURS[OURS] if who else "#BBBBBB"
        most = max([most, *(share or 0.0 for share in shares)])
        right.barh(heights, [100 * (share or 0) for share in shares], height=0.32, color=colour, label=label)
        for at, share in zip(heights, shares, strict=True):
            right.text(100 * (share or 0) + 1, at, "–" if share is None else f"{share:.0%}", va="center", fontsize=7)
    right.set(
        xlim=(0, max(110.0, 100 * most + 10)), xlabel="% of what the machine can do at best", title="Of the limit"
    )
    handles, labels = left.get_legend_handles_labels()
    more = right.get_legend_handles_labels()
    figure.legend(handles + more[0][1:], labels + more[1][1:], loc="lower center", ncols=5, frameon=False)
    figure.tight_layout(rect=(0, 0.5 / (1.6 + 0.42 * len(names)), 1, 1))
    return figure


def _ticks(axes: Any, places: Any, values: list[float | None], colour: str, label: str) -> None:
    """A short upright line in each bar's row."""
    for at, value in zip(places, values, strict=True):
        if value is not None:
            axes.plot([value, value], [at - 0.4, at + 0.4], color=colour, linewidth=2, label=label)
            label = "_again"


def _curves(plt: Any, records: list[Record]) -> Any:
    """One picture a curve, one line a peer."""
    from matplotlib import ticker

    titles = list(dict.fromkeys(record["curve"] for record in records))
    columns = min(3, len(titles))
    rows = -(-len(titles) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(4 * columns, 3.1 * rows), squeeze=False)
    for axes, title in zip(grid.flat, titles, strict=False):
        chosen = [record for record in records if record["curve"] == title]
        for peer in dict.fromkeys(record["peer"] for record in chosen):
            points = sorted((record["x"], record["y"]) for record in chosen if record["peer"] == peer)
            look = {"color": COLOURS.get(peer), "marker": MARKERS.get(peer, "o")}
            axes.plot(*zip(*points, strict=True), label=peer, markersize=4, linewidth=1.4, **look)
        axes.set(xscale="log", yscale="log", title=title, xlabel=chosen[0]["x_label"], ylabel=chosen[0]["y_label"])
        ticks = sorted({record["x"] for record in chosen})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.grid(alpha=0.25)
        axes.legend(fontsize=7, frameon=False)
    for axes in list(grid.flat)[len(titles) :]:
        axes.set_visible(False)
    figure.tight_layout()
    return figure
