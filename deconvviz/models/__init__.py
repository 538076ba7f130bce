"""Networks to inspect, and a trainer that shows how their features develop.

`mnist_cnn` is the reference network with its bundled weights, `ZFNet` the network of Zeiler and Fergus; `train` trains
any image classifier. Read `settings`, `training` and `checkpoints` in this order.
"""

from __future__ import annotations

from deconvviz.models.evaluation import DropoutPrediction, Evaluation, evaluate, mc_dropout_predict
from deconvviz.models.filters import clip_filter_rms_
from deconvviz.models.learning_curve_diagnosis import diagnose_fit
from deconvviz.models.mnist import MnistCNN, mnist_cnn
from deconvviz.models.reference import REFERENCE, initialised, save_trained, train_mnist
from deconvviz.models.settings import TrainingSettings
from deconvviz.models.training import TrainingResult, train
from deconvviz.models.weights import LoadedWeights, load_weights, read_weights, save_weights
from deconvviz.models.zfnet import ZFNet

__all__ = [
    "REFERENCE",
    "DropoutPrediction",
    "Evaluation",
    "LoadedWeights",
    "MnistCNN",
    "TrainingResult",
    "TrainingSettings",
    "ZFNet",
    "clip_filter_rms_",
    "diagnose_fit",
    "evaluate",
    "initialised",
    "load_weights",
    "mc_dropout_predict",
    "mnist_cnn",
    "read_weights",
    "save_trained",
    "save_weights",
    "train",
    "train_mnist",
]
