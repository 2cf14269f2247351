"""Student-friendly knowledge distillation: importing this registers its models."""

from . import connectors, distillers, losses

__all__ = ['connectors', 'distillers', 'losses']
