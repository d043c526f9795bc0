"""Looking at models and at what training did: summaries, values within, and pictures."""

from jaxdl.inspect.devices import Device as Device
from jaxdl.inspect.devices import Devices as Devices
from jaxdl.inspect.devices import devices as devices
from jaxdl.inspect.graph import graph as graph
from jaxdl.inspect.intermediates import gradients as gradients
from jaxdl.inspect.intermediates import intermediates as intermediates
from jaxdl.inspect.live import LivePlot as LivePlot
from jaxdl.inspect.live import live_plot as live_plot
from jaxdl.inspect.nonfinite import Nonfinite as Nonfinite
from jaxdl.inspect.nonfinite import locate_nonfinite as locate_nonfinite
from jaxdl.inspect.operations import Operations as Operations
from jaxdl.inspect.operations import count_operations as count_operations
from jaxdl.inspect.plots import plot_confusion as plot_confusion
from jaxdl.inspect.plots import plot_history as plot_history
from jaxdl.inspect.plots import plot_mistakes as plot_mistakes
from jaxdl.inspect.plots import plot_rates as plot_rates
from jaxdl.inspect.recompiled import Change as Change
from jaxdl.inspect.recompiled import Changes as Changes
from jaxdl.inspect.recompiled import why_recompiled as why_recompiled
from jaxdl.inspect.sharding import Lying as Lying
from jaxdl.inspect.sharding import Sharding as Sharding
from jaxdl.inspect.sharding import describe_sharding as describe_sharding
from jaxdl.inspect.summary import Line as Line
from jaxdl.inspect.summary import Summary as Summary
from jaxdl.inspect.summary import summary as summary
