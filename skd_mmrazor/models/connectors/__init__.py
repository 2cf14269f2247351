"""Connectors: the simplifier of SKD, and the regressor of FitNets."""

from .attention_simplifier_connector import AttentionSimplifierConnector
from .fitnets_connector import FitNetsConnector

__all__ = ['AttentionSimplifierConnector', 'FitNetsConnector']
