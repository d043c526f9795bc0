"""Weights from and for other programs."""

from jaxdl.interop.weights import load_params as load_params
from jaxdl.interop.weights import save_params as save_params
