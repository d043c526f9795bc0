"""jaxdl with the layers that are two in one, where a network has such a form: the first peer otherwise."""

from benchmarks.peers import jaxdl
from benchmarks.peers.jaxdl_models import FUSED

MODELS = FUSED


class Session(jaxdl.Session):
    """See :class:`benchmarks.peers.Session`."""

    models = FUSED
