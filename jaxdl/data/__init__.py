"""Data: real sets, splits without leakage, and the order of an epoch. A data set is a dict of arrays."""

from jaxdl.data import augment as augment
from jaxdl.data.idx import read_idx as read_idx
from jaxdl.data.images import FASHION_CLASSES as FASHION_CLASSES
from jaxdl.data.images import digits as digits
from jaxdl.data.images import fashion_mnist as fashion_mnist
from jaxdl.data.images import mnist as mnist
from jaxdl.data.order import epoch_order as epoch_order
from jaxdl.data.split import split as split
from jaxdl.data.split import standardize as standardize
