"""Penalties: ``penalty(params) -> scalar``, added to the loss by ``fit`` and ``supervised`` (``penalty=``).

Each is a frozen record of its terms, equal to one that is made alike, so that a second fit compiles nothing; ``+`` adds
them: ``l2(1e-4) + l1(1e-5, where="head/*")``. Leaves are chosen by path globs; a pattern that matches nothing is an
error that lists near names. The default, ``"*kernel"``, is every kernel (``recurrent_kernel`` as well) and no bias or
scale. They are added up in ``promote_types(param.dtype, float32)``.

**L2 and decoupled weight decay.** Under SGD with a rate η both are ``w ← (1 − 2 η λ) w − η ∇``: ``l2(λ)`` is
``optax.add_decayed_weights(2 λ)`` before the rate. Under Adam they differ: the gradient of a penalty is divided by the
root of the second moment like any other, so that weights with large gradients are hardly pulled at all, while
``optax.adamw(η, weight_decay=2 λ)`` pulls all alike (Loshchilov and Hutter, Decoupled weight decay regularization,
2017).

**L1 and exact zeros.** The gradient of :func:`l1` moves weights about zero but never onto it. :func:`proximal_l1` after
the optimizer does: it takes the place of the penalty.

**Activations.** :func:`activity_l1` and :func:`activity_kl` are of a layer's output; the layer
:func:`jaxdl.layers.activity_penalty` adds them to the loss.
"""

from jaxdl.penalties.activity import Activity as Activity
from jaxdl.penalties.activity import activity_kl as activity_kl
from jaxdl.penalties.activity import activity_l1 as activity_l1
from jaxdl.penalties.parameters import Penalty as Penalty
from jaxdl.penalties.parameters import elastic_net as elastic_net
from jaxdl.penalties.parameters import group_lasso as group_lasso
from jaxdl.penalties.parameters import l1 as l1
from jaxdl.penalties.parameters import l2 as l2
from jaxdl.penalties.proximal import proximal_l1 as proximal_l1
