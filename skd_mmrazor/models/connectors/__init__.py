"""Connectors: of SKD, teacher logits in, simplified logits out; and FitNets' regressor."""

from .attention_simplifier_connector import AttentionSimplifierConnector
from .fitnets_connector import FitNetsConnector

__all__ = ['AttentionSimplifierConnector', 'FitNetsConnector']
