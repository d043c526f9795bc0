"""Metrics: ``metric(prediction, target) -> values``, one for each example or element, like a loss; or, for what is no
mean of such values, ``metric(prediction, target, weight=None) -> Sum``, marked by :func:`reducing`.

They are added up as totals and weights over batches, masks and devices, and made a figure once, at the end, so that
they equal those of the whole data set however it is cut. Any loss is a metric as well: its mean is reported.

Options are keyword arguments: ``metrics={"f1": functools.partial(metrics.f1, average="macro")}``. By itself,
``metrics.f1(logits, labels).mean()`` is the figure. BLEU is left to ``sacrebleu``. :func:`frechet_distance` alone is no
such metric: it compares two whole sets.
"""

from jaxdl.core.targets import reducing as reducing
from jaxdl.core.targets import takes_ragged as takes_ragged
from jaxdl.metrics.counts import confusion_matrix as confusion_matrix
from jaxdl.metrics.counts import f1 as f1
from jaxdl.metrics.counts import iou as iou
from jaxdl.metrics.counts import precision as precision
from jaxdl.metrics.counts import recall as recall
from jaxdl.metrics.distances import frechet_distance as frechet_distance
from jaxdl.metrics.errors import mean_absolute_error as mean_absolute_error
from jaxdl.metrics.errors import perplexity as perplexity
from jaxdl.metrics.errors import r_squared as r_squared
from jaxdl.metrics.errors import root_mean_squared_error as root_mean_squared_error
from jaxdl.metrics.hits import accuracy as accuracy
from jaxdl.metrics.hits import binary_accuracy as binary_accuracy
from jaxdl.metrics.hits import top_k_accuracy as top_k_accuracy
from jaxdl.metrics.ranks import roc_auc as roc_auc
