"""Backbones, connectors, distillers and losses, laid out as in ``mmrazor.models``."""

from .backbones import (
    CIFARVGG,
    CIFARMobileNetV2,
    CIFARResNet,
    CIFARShuffleNetV1,
    CIFARShuffleNetV2,
    CIFARWideResNet,
    MobileNetV1,
)
from .connectors import AttentionSimplifierConnector, FitNetsConnector
from .distillers import SKDBYOTDistiller, SKDDistiller, SKDOFDDistiller
from .losses import (
    LogSpaceBinaryKLDivergence,
    LogSpaceDKDLoss,
    LogSpaceKLDivergence,
    WeightedCRDLoss,
)

__all__ = [
    'CIFARVGG',
    'AttentionSimplifierConnector',
    'CIFARMobileNetV2',
    'CIFARResNet',
    'CIFARShuffleNetV1',
    'CIFARShuffleNetV2',
    'CIFARWideResNet',
    'FitNetsConnector',
    'LogSpaceBinaryKLDivergence',
    'LogSpaceDKDLoss',
    'LogSpaceKLDivergence',
    'MobileNetV1',
    'SKDBYOTDistiller',
    'SKDDistiller',
    'SKDOFDDistiller',
    'WeightedCRDLoss',
]
