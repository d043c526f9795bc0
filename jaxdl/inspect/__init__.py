"""Looking at models and at what training did: summaries and pictures."""

from jaxdl.inspect.plots import plot_confusion as plot_confusion
from jaxdl.inspect.plots import plot_history as plot_history
from jaxdl.inspect.plots import plot_mistakes as plot_mistakes
from jaxdl.inspect.summary import summary as summary
