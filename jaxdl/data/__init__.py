"""Data: real sets, splits without leakage, text as integers, augmentation, and the order of an epoch.

A data set is a dict of arrays.
"""

from jaxdl.data import augment as augment
from jaxdl.data.buckets import Buckets as Buckets
from jaxdl.data.buckets import buckets as buckets
from jaxdl.data.corpora import TREC_CLASSES as TREC_CLASSES
from jaxdl.data.corpora import TextTable as TextTable
from jaxdl.data.corpora import hotel_reviews as hotel_reviews
from jaxdl.data.corpora import python_sources as python_sources
from jaxdl.data.corpora import read_texts as read_texts
from jaxdl.data.corpora import sst2 as sst2
from jaxdl.data.corpora import tiny_shakespeare as tiny_shakespeare
from jaxdl.data.corpora import trec as trec
from jaxdl.data.folders import ImageFolder as ImageFolder
from jaxdl.data.folders import image_folder as image_folder
from jaxdl.data.folders import memmap as memmap
from jaxdl.data.grains import GrainBatches as GrainBatches
from jaxdl.data.grains import from_grain as from_grain
from jaxdl.data.idx import read_idx as read_idx
from jaxdl.data.images import CIFAR10_CLASSES as CIFAR10_CLASSES
from jaxdl.data.images import FASHION_CLASSES as FASHION_CLASSES
from jaxdl.data.images import cifar10_subset as cifar10_subset
from jaxdl.data.images import digits as digits
from jaxdl.data.images import fashion_mnist as fashion_mnist
from jaxdl.data.images import mnist as mnist
from jaxdl.data.order import epoch_order as epoch_order
from jaxdl.data.series import Series as Series
from jaxdl.data.series import airline_passengers as airline_passengers
from jaxdl.data.series import daily_temperatures as daily_temperatures
from jaxdl.data.series import read_series as read_series
from jaxdl.data.series import sunspots as sunspots
from jaxdl.data.series import windows as windows
from jaxdl.data.split import split as split
from jaxdl.data.split import standardize as standardize
from jaxdl.data.tables import Table as Table
from jaxdl.data.tables import abalone as abalone
from jaxdl.data.tables import california_housing as california_housing
from jaxdl.data.tables import diabetes as diabetes
from jaxdl.data.tables import iris as iris
from jaxdl.data.tables import read_table as read_table
from jaxdl.data.tables import wine_quality as wine_quality
from jaxdl.data.text import encode as encode
from jaxdl.data.text import pad_left as pad_left
from jaxdl.data.text import pad_sequences as pad_sequences
from jaxdl.data.text import train_tokenizer as train_tokenizer
