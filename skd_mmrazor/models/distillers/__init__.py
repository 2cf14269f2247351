"""Distillers: which records reach which loss."""

from .skd_distiller import SKDDistiller

__all__ = ['SKDDistiller']
