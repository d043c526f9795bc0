"""Weights from and for other programs."""

from jaxdl.interop.filling import LoadReport as LoadReport
from jaxdl.interop.filling import load_into as load_into
from jaxdl.interop.keras import from_keras as from_keras
from jaxdl.interop.keras import to_keras as to_keras
from jaxdl.interop.linen import from_flax as from_flax
from jaxdl.interop.linen import to_flax as to_flax
from jaxdl.interop.pytorch import from_torch as from_torch
from jaxdl.interop.pytorch import to_torch as to_torch
from jaxdl.interop.weights import load_metadata as load_metadata
from jaxdl.interop.weights import load_params as load_params
from jaxdl.interop.weights import save_params as save_params
