"""Distillers: which records reach which loss."""

from .skd_distiller import SKDBYOTDistiller, SKDDistiller, SKDOFDDistiller

__all__ = ['SKDBYOTDistiller', 'SKDDistiller', 'SKDOFDDistiller']
