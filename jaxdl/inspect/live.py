"""Learning curves that are drawn while a run goes."""

import io
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxdl.core import bad_value
from jaxdl.core.extras import need
from jaxdl.core.files import whole_file
from jaxdl.inspect.plots import plot_history
from jaxdl.train.events import Event, History

SHARE = 0.05
"""Of a run's time that drawing may take, but for the first picture and the last."""


@dataclass
class LivePlot:
    """What :func:`live_plot` gives: a callback that draws the history."""

    writes = True

    path: str | os.PathLike[str] | None
    due: float = field(default=0.0, init=False, repr=False, compare=False)
    shown: Any = field(default=None, init=False, repr=False, compare=False)

    def __call__(self, event: Event) -> None:
        now = time.perf_counter()
        if event.kind == "begin":
            self.due, self.shown = 0.0, None
        elif event.history and (event.kind == "end" or (event.kind == "epoch" and now >= self.due)):
            self._draw(event.history)
            after = time.perf_counter()
            self.due = after + (after - now) / SHARE

    def _draw(self, history: History) -> None:
        figure = plot_history(history)
        if self.path is not None:
            path = Path(self.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as part:
                figure.savefig(part, dpi=120, format=path.suffix.removeprefix(".") or "png")
        if (display := notebook_display()) is not None:
            picture = io.BytesIO()
            figure.savefig(picture, dpi=80, format="png")
            image = display.Image(picture.getvalue())
            if self.shown is None:
                self.shown = display.display(image, display_id=True)
            else:
                self.shown.update(image)


def live_plot(path: str | os.PathLike[str] | None = None) -> LivePlot:
    """A callback that draws :func:`plot_history` again after each epoch: into a file, and in a notebook in its place.

    The file is replaced whole, so that a viewer never meets half a picture. Where epochs are short not each is drawn,
    so that drawing takes at most a twentieth of the time; the last picture is that of the whole history.

    **Args** ``path``: of the picture, whose suffix says its format; None draws in a notebook alone.

    **Raises** ``ValueError`` for a format that matplotlib does not write; ``ImportError`` without matplotlib.

    Example:
        >>> import tempfile, pathlib, jax.numpy as jnp, jaxdl as dl
        >>> def step(state, batch):
        ...     return state, {"seen": batch.mean()}
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "history.png"
        >>> _ = dl.run(
        ...     step, jnp.zeros(()), jnp.ones((8, 2)), epochs=3, batch_size=4, progress=False,
        ...     callbacks=[live_plot(path)],
        ... )
        >>> path.read_bytes()[1:4]
        b'PNG'
    """
    # Now, and not when the first epoch is done.
    formats = need("matplotlib.backend_bases", "inspect.live_plot", extra="viz").FigureCanvasBase.filetypes
    suffix = Path(path or "").suffix
    if suffix and suffix.removeprefix(".").lower() not in formats:
        endings = ", ".join(f".{name}" for name in formats)
        raise bad_value("live_plot", f"path must end with one of {endings}", str(path))
    return LivePlot(path)


def notebook_display() -> Any:
    """IPython's display where a notebook shows pictures, else None; it imports nothing that is not there already."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None or "IPKernelApp" not in shell.config:
        return None
    return sys.modules["IPython.display"]
