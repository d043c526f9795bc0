"""jaxdl: deep learning as plain functions on JAX.

A layer is two pure functions over explicit pytrees, a model is a layer made of layers, a training step is a pure
function from (state, batch) to (state, metrics), and whole epochs are one XLA program.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from jaxdl import combine as combine
from jaxdl import core as core
from jaxdl import data as data
from jaxdl import functional as functional
from jaxdl import layers as layers
from jaxdl import losses as losses
from jaxdl import metrics as metrics
from jaxdl import models as models
from jaxdl import penalties as penalties
from jaxdl import sharding as sharding
from jaxdl import train as train
from jaxdl.combine import branch as branch
from jaxdl.combine import encoder_decoder as encoder_decoder
from jaxdl.combine import lora as lora
from jaxdl.combine import merge_lora as merge_lora
from jaxdl.combine import mixture_of_experts as mixture_of_experts
from jaxdl.combine import parallel as parallel
from jaxdl.combine import remat as remat
from jaxdl.combine import repeat as repeat
from jaxdl.combine import residual as residual
from jaxdl.combine import sequential as sequential
from jaxdl.combine import spectral_norm as spectral_norm
from jaxdl.combine import tie as tie
from jaxdl.combine import vmapped as vmapped
from jaxdl.combine import weight_norm as weight_norm
from jaxdl.core import Layer as Layer
from jaxdl.core import Ragged as Ragged
from jaxdl.core import Sum as Sum
from jaxdl.core import layer as layer
from jaxdl.core import stateless as stateless
from jaxdl.core import sublayer as sublayer
from jaxdl.sharding import mesh as mesh
from jaxdl.train import Checkpoint as Checkpoint
from jaxdl.train import NonfiniteError as NonfiniteError
from jaxdl.train import Stop as Stop
from jaxdl.train import TrainState as TrainState
from jaxdl.train import by_epoch as by_epoch
from jaxdl.train import by_path as by_path
from jaxdl.train import configure as configure
from jaxdl.train import early_stopping as early_stopping
from jaxdl.train import ema as ema
from jaxdl.train import ema_params as ema_params
from jaxdl.train import enable_compile_cache as enable_compile_cache
from jaxdl.train import evaluate as evaluate
from jaxdl.train import find_learning_rate as find_learning_rate
from jaxdl.train import fit as fit
from jaxdl.train import freeze as freeze
from jaxdl.train import generate as generate
from jaxdl.train import history_file as history_file
from jaxdl.train import make_step as make_step
from jaxdl.train import predict as predict
from jaxdl.train import run as run
from jaxdl.train import supervised as supervised
from jaxdl.train import tensorboard as tensorboard

if TYPE_CHECKING:
    from jaxdl import inspect as inspect
    from jaxdl import interop as interop
    from jaxdl.inspect import devices as devices

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The rooms that training does not need are opened when they are first asked for."""
    if name in ("inspect", "interop"):
        return importlib.import_module(f"jaxdl.{name}")
    if name == "devices":
        return importlib.import_module("jaxdl.inspect").devices
    # With the name and the module, Python says which attribute was likely meant.
    raise AttributeError(f"module 'jaxdl' has no attribute {name!r}", name=name, obj=sys.modules[__name__])


def _locate_nonfinite(*args: Any, **arguments: Any) -> Any:
    return importlib.import_module("jaxdl.inspect").locate_nonfinite(*args, **arguments)


train.guard.locate_with(_locate_nonfinite)
