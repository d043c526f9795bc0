"""What a layer is: the record and its contract, names and keys, specs, errors, ragged batches and sums."""

from jaxdl.core.children import Children as Children
from jaxdl.core.children import build as build
from jaxdl.core.children import child_key as child_key
from jaxdl.core.children import specs as specs
from jaxdl.core.children import sublayer as sublayer
from jaxdl.core.contract import Built as Built
from jaxdl.core.contract import Decoding as Decoding
from jaxdl.core.contract import LayerLike as LayerLike
from jaxdl.core.contract import Part as Part
from jaxdl.core.errors import bad_type as bad_type
from jaxdl.core.errors import bad_value as bad_value
from jaxdl.core.errors import describe as describe
from jaxdl.core.layer import Layer as Layer
from jaxdl.core.layer import combinator as combinator
from jaxdl.core.layer import each_position as each_position
from jaxdl.core.layer import layer as layer
from jaxdl.core.layer import no_params as no_params
from jaxdl.core.layer import positions as positions
from jaxdl.core.layer import stateless as stateless
from jaxdl.core.layer import wrapper as wrapper
from jaxdl.core.ragged import Ragged as Ragged
from jaxdl.core.select import flat_paths as flat_paths
from jaxdl.core.select import select as select
from jaxdl.core.sums import Sum as Sum
