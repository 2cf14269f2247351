"""Student-friendly Knowledge Distillation for MMRazor.

Importing the package makes mmrazor work on the installed torch
(:mod:`skd_mmrazor.compat`) and registers ``SKDDistiller``,
``AttentionSimplifierConnector``, their losses and the hooks, so that a config
needs ``custom_imports = dict(imports=['skd_mmrazor'])`` and nothing else.
"""

from . import compat
from .version import __version__

compat.apply()

# Only importable once compat has been applied.
from mmengine.config.utils import MODULE2PACKAGE  # noqa: E402

from . import datasets, engine, models  # noqa: E402

# Lets ``skd_mmrazor::digits/….py`` be a base of any config.
MODULE2PACKAGE.setdefault('skd_mmrazor', 'skd_mmrazor')
engine.migrate_checkpoints()

__all__ = ['__version__', 'compat', 'datasets', 'engine', 'models']
