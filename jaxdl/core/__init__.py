"""What a layer is: the record and its contract, names and keys, specs, errors, ragged batches and sums."""

from jaxdl.core.children import Children as Children
from jaxdl.core.children import build as build
from jaxdl.core.children import child_key as child_key
from jaxdl.core.children import specs as specs
from jaxdl.core.errors import bad_type as bad_type
from jaxdl.core.errors import bad_value as bad_value
from jaxdl.core.errors import describe as describe
from jaxdl.core.layer import Built as Built
from jaxdl.core.layer import Layer as Layer
from jaxdl.core.layer import LayerLike as LayerLike
from jaxdl.core.layer import Part as Part
from jaxdl.core.layer import combinator as combinator
from jaxdl.core.layer import layer as layer
from jaxdl.core.layer import no_params as no_params
from jaxdl.core.layer import positions as positions
from jaxdl.core.layer import stateless as stateless
from jaxdl.core.ragged import Ragged as Ragged
from jaxdl.core.sums import Sum as Sum
