"""Recurrent networks over sequences ``(batch, time, …)``, and the cells that they repeat."""

from jaxdl.functional.recurrent.cells import gru_cell as gru_cell
from jaxdl.functional.recurrent.cells import lstm_cell as lstm_cell
from jaxdl.functional.recurrent.cells import simple_rnn_cell as simple_rnn_cell
from jaxdl.functional.recurrent.convolution import conv_lstm as conv_lstm
from jaxdl.functional.recurrent.convolution import conv_lstm_cell as conv_lstm_cell
from jaxdl.functional.recurrent.order import first_step as first_step
from jaxdl.functional.recurrent.order import flip_sequence as flip_sequence
from jaxdl.functional.recurrent.order import last_step as last_step
from jaxdl.functional.recurrent.sequence import gru as gru
from jaxdl.functional.recurrent.sequence import lstm as lstm
from jaxdl.functional.recurrent.sequence import simple_rnn as simple_rnn
