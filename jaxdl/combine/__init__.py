"""Layers made of layers."""

from jaxdl.combine.encoder_decoder import encoder_decoder as encoder_decoder
from jaxdl.combine.experts import mixture_of_experts as mixture_of_experts
from jaxdl.combine.lora import lora as lora
from jaxdl.combine.lora import merge_lora as merge_lora
from jaxdl.combine.normalised import spectral_norm as spectral_norm
from jaxdl.combine.normalised import weight_norm as weight_norm
from jaxdl.combine.parallel import branch as branch
from jaxdl.combine.parallel import parallel as parallel
from jaxdl.combine.remat import remat as remat
from jaxdl.combine.residual import residual as residual
from jaxdl.combine.sequential import sequential as sequential
from jaxdl.combine.stacked import repeat as repeat
from jaxdl.combine.stacked import vmapped as vmapped
from jaxdl.combine.tie import tie as tie
