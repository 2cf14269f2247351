"""Backbones, connectors, distillers and losses, laid out as in ``mmrazor.models``."""

from .backbones import (
    CIFARVGG,
    CIFARMobileNetV2,
    CIFARResNet,
    CIFARShuffleNetV1,
    CIFARShuffleNetV2,
    CIFARWideResNet,
)
from .connectors import AttentionSimplifierConnector
from .distillers import SKDBYOTDistiller, SKDDistiller, SKDOFDDistiller
from .losses import LogSpaceDKDLoss, LogSpaceKLDivergence

__all__ = [
    'CIFARVGG',
    'AttentionSimplifierConnector',
    'CIFARMobileNetV2',
    'CIFARResNet',
    'CIFARShuffleNetV1',
    'CIFARShuffleNetV2',
    'CIFARWideResNet',
    'LogSpaceDKDLoss',
    'LogSpaceKLDivergence',
    'SKDBYOTDistiller',
    'SKDDistiller',
    'SKDOFDDistiller',
]
