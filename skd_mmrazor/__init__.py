"""Student-friendly Knowledge Distillation for MMRazor.

Importing the package makes mmrazor run on the installed torch
(:mod:`skd_mmrazor.compat`) and registers ``SKDDistiller``,
``AttentionSimplifierConnector``, their losses, data sets and hooks, so that a
config needs ``custom_imports = dict(imports=['skd_mmrazor'])`` and nothing else.
Nothing that works without the package changes; stricter checks are opt-in, by
importing :mod:`skd_mmrazor.safeguards`.
"""

from . import compat
from .version import __version__

compat.apply()

# Only importable once compat has been applied.
from . import datasets, engine, models  # noqa: E402

__all__ = ['__version__', 'compat', 'datasets', 'engine', 'models']
