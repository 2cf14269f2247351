"""Connectors, distillers and losses, laid out as in ``mmrazor.models``."""

from .connectors import AttentionSimplifierConnector
from .distillers import SKDDistiller
from .losses import LogSpaceDKDLoss, LogSpaceKLDivergence

__all__ = [
    'AttentionSimplifierConnector',
    'LogSpaceDKDLoss',
    'LogSpaceKLDivergence',
    'SKDDistiller',
]
