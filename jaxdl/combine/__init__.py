"""Layers made of layers."""

from jaxdl.combine.residual import residual as residual
from jaxdl.combine.sequential import sequential as sequential
