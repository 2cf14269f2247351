"""Small models, and configs that distil them."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub  # noqa: F401
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from mmrazor.registry import MODELS
from torch import nn


@pytest.fixture(autouse=True)
def _modern_torch():
    if not hasattr(torch, 'autocast'):
        pytest.skip('torch.testing.assert_close and torch.autocast need torch 1.10')


class ToyHead(nn.Module):
    """Logits, and a loss in a module of its own, as classifiers have them."""

    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.fc = nn.Linear(in_channels, num_classes)
        self.loss_module = nn.CrossEntropyLoss()


class ToyNeck(nn.Module):
    """Average pooling that gives a tuple."""

    def forward(self, feature):
        return (feature.mean(dim=(2, 3)),)


@MODELS.register_module()
class ToyClassifier(BaseModel):
    """A classifier of one-channel images."""

    def __init__(self, width, num_classes, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.backbone = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.neck = ToyNeck()
        self.head = ToyHead(width, num_classes)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        features = self.neck(self.backbone(inputs))
        if mode == 'tensor':
            return features
        logits = self.head.fc(features[-1])
        if mode == 'predict':
            return [BaseDataElement(pred_score=score) for score in F.softmax(logits, dim=1)]
        labels = torch.cat([sample.gt_label for sample in data_samples])
        return dict(loss=self.head.loss_module(logits, labels))


def classifier(width, num_classes=10):
    """A small classifier of one-channel images."""
    return dict(type='ToyClassifier', width=width, num_classes=num_classes)


def batch(size=6, num_classes=10, dtype=torch.float32):
    """Random images and labels, as a data preprocessor would give them."""
    labels = torch.randint(num_classes, (size, 1))
    samples = [BaseDataElement(gt_label=label) for label in labels]
    return torch.randn(size, 1, 8, 8, dtype=dtype), samples
