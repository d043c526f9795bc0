"""Recurrent layers over sequences, plain or :class:`jaxdl.Ragged`."""

from jaxdl.layers.recurrent.convolution import conv_lstm as conv_lstm
from jaxdl.layers.recurrent.directions import bidirectional as bidirectional
from jaxdl.layers.recurrent.sequence import gru as gru
from jaxdl.layers.recurrent.sequence import lstm as lstm
from jaxdl.layers.recurrent.sequence import simple_rnn as simple_rnn
