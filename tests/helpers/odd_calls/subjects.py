"""The small network, dataset and results that the calls are made with."""

from __future__ import annotations

import torch
from torch import nn

import deconvviz as dv
from deconvviz import images, results

torch.manual_seed(0)
MODEL = nn.Sequential(
    nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 3), nn.Flatten(), nn.Linear(48, 3), nn.Dropout(0.1)
)
PREPROCESS = images.Preprocess(8, (0.0,), (1.0,))
NET = dv.DeconvNet(MODEL.eval().requires_grad_(False), preprocess=PREPROCESS)
X = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
DATA, LABELS = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(2)), torch.tensor([0, 1] * 3)
MANY = torch.rand(36, 1, 8, 8, generator=torch.Generator().manual_seed(3))  # enough for `mixed_channels`
TOP = dv.scan(NET, DATA, layers=["0", "2"], k=2, progress=False)
PROJECTION, RECONSTRUCTION = NET.project(X, "2", channel=[0, 1]), NET.reconstruct(X, "2")
FILTERS, FEATURE_MAPS = NET.filters("2"), NET.activations(X, "2")
WEIGHTS = dict(MODEL.state_dict())
CURVES = results.LearningCurves(
    epochs=(1, 2),
    train_loss=(1.0, 0.5),
    validation_loss=(1.0, 0.6),
    train_accuracy=(0.5, 0.8),
    validation_accuracy=(0.5, 0.7),
    diagnosis="good",
    settings={},
)
MAPS = torch.rand(2, 1, 3, 3)
