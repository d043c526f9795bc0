"""Losses: ``loss(prediction, target) -> values``, one for each example or element, never reduced and never broadcast.

- **The mean** is taken by whoever adds up: ``Sum.of(loss(prediction, target), weight).mean()``.
  :func:`jaxdl.supervised` does so with the batch's ``weight``: ``Σ wᵢ vᵢ / Σ wᵢ`` over all values.
- **Weights and masks** are one thing: a ``weight`` for each example, or for each leading position of the values; what
  has weight 0 is masked, and its value may be anything. For :func:`jaxdl.supervised`, and so for :func:`jaxdl.fit`, its
  target may be anything as well; in a loss function of one's own a masked target must be one that has a gradient, such
  as 0, since nan times 0 is nan. Padded positions of a :class:`jaxdl.Ragged` prediction are masked by
  themselves; its target may be ``Ragged`` as well.
- **Options** are keyword arguments. ``loss=functools.partial(losses.huber, delta=2.0)`` binds them for
  :func:`jaxdl.fit`, to which partials made alike are equal, so that a second fit compiles nothing.
- **Precision**: values are in ``promote_types(prediction.dtype, float32)``. Gradients are finite at edges.
- **Losses of more than two arrays**, such as :func:`triplet`, and terms such as :func:`gaussian_kl`, are for a loss
  function of one's own; where a model gives several outputs, ``loss=lambda outputs, y: losses.triplet(*outputs)``.
"""

from jaxdl.core.targets import takes_ragged as takes_ragged
from jaxdl.losses.classes import binary_cross_entropy as binary_cross_entropy
from jaxdl.losses.classes import binary_focal as binary_focal
from jaxdl.losses.classes import cross_entropy as cross_entropy
from jaxdl.losses.classes import focal as focal
from jaxdl.losses.classes import hinge as hinge
from jaxdl.losses.contrast import cosine_distance as cosine_distance
from jaxdl.losses.contrast import info_nce as info_nce
from jaxdl.losses.contrast import triplet as triplet
from jaxdl.losses.dice import binary_dice as binary_dice
from jaxdl.losses.dice import dice as dice
from jaxdl.losses.distributions import gaussian_kl as gaussian_kl
from jaxdl.losses.distributions import gradient_penalty as gradient_penalty
from jaxdl.losses.distributions import kl_divergence as kl_divergence
from jaxdl.losses.distributions import wasserstein as wasserstein
from jaxdl.losses.host import check_targets as check_targets
from jaxdl.losses.numbers import huber as huber
from jaxdl.losses.numbers import log_cosh as log_cosh
from jaxdl.losses.numbers import mean_absolute_error as mean_absolute_error
from jaxdl.losses.numbers import mean_squared_error as mean_squared_error
from jaxdl.losses.numbers import poisson as poisson
from jaxdl.losses.numbers import quantile as quantile
from jaxdl.losses.sequences import ctc as ctc
