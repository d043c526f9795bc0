"""Training: state, step, engine, fit. It knows layers by ``init`` and ``apply`` alone."""

from jaxdl.train.checkpoint import Checkpoint as Checkpoint
from jaxdl.train.compile_cache import enable_compile_cache as enable_compile_cache
from jaxdl.train.engine import run as run
from jaxdl.train.environment import configure as configure
from jaxdl.train.evaluate import evaluate as evaluate
from jaxdl.train.evaluate import predict as predict
from jaxdl.train.events import Callback as Callback
from jaxdl.train.events import Event as Event
from jaxdl.train.events import History as History
from jaxdl.train.events import Stop as Stop
from jaxdl.train.fit import fit as fit
from jaxdl.train.partition import by_path as by_path
from jaxdl.train.partition import freeze as freeze
from jaxdl.train.partition import path_mask as path_mask
from jaxdl.train.program import trace_count as trace_count
from jaxdl.train.rates import Rates as Rates
from jaxdl.train.rates import find_learning_rate as find_learning_rate
from jaxdl.train.records import history_file as history_file
from jaxdl.train.records import read_history as read_history
from jaxdl.train.records import tensorboard as tensorboard
from jaxdl.train.records import write_history as write_history
from jaxdl.train.state import TrainState as TrainState
from jaxdl.train.state import create_state as create_state
from jaxdl.train.step import make_step as make_step
from jaxdl.train.step import supervised as supervised
from jaxdl.train.stopping import early_stopping as early_stopping
