"""Connectors: teacher logits in, simplified logits out."""

from .attention_simplifier_connector import AttentionSimplifierConnector

__all__ = ['AttentionSimplifierConnector']
