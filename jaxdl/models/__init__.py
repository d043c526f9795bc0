"""Models: compositions of layers, made by plain functions."""

from jaxdl.models.autoencoder import autoencoder as autoencoder
from jaxdl.models.autoencoder import conv_autoencoder as conv_autoencoder
from jaxdl.models.bert import bert as bert
from jaxdl.models.bert import bert_classifier as bert_classifier
from jaxdl.models.cnn import cnn as cnn
from jaxdl.models.cnn import course_cnn as course_cnn
from jaxdl.models.cnn import lenet as lenet
from jaxdl.models.gan import dcgan_discriminator as dcgan_discriminator
from jaxdl.models.gan import dcgan_generator as dcgan_generator
from jaxdl.models.gan import dense_discriminator as dense_discriminator
from jaxdl.models.gan import dense_generator as dense_generator
from jaxdl.models.gpt import gpt as gpt
from jaxdl.models.mlp import mlp as mlp
from jaxdl.models.resnet import resnet as resnet
from jaxdl.models.resnet import resnet_cifar as resnet_cifar
from jaxdl.models.seq2seq import seq2seq as seq2seq
from jaxdl.models.text import text_cnn as text_cnn
from jaxdl.models.text import text_rnn as text_rnn
from jaxdl.models.transformer import transformer as transformer
from jaxdl.models.unet import unet as unet
from jaxdl.models.vae import vae as vae
from jaxdl.models.vit import vit as vit
