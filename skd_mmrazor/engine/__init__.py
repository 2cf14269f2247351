"""What knows the runner, laid out as in ``mmrazor.engine``."""

from .hooks import (
    EpochSeedHook,
    NonFiniteLossHook,
    SimplifierMigrationHook,
    SimplifierVisualizationHook,
    migrate_checkpoints,
)

__all__ = [
    'EpochSeedHook',
    'NonFiniteLossHook',
    'SimplifierMigrationHook',
    'SimplifierVisualizationHook',
    'migrate_checkpoints',
]
