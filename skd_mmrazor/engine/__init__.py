"""What knows the runner, laid out as in ``mmrazor.engine``."""

from .hooks import (
    EpochSeedHook,
    LossWeightWarmupHook,
    NonFiniteLossHook,
    SimplifierMigrationHook,
    migrate_checkpoints,
)

__all__ = [
    'EpochSeedHook',
    'LossWeightWarmupHook',
    'NonFiniteLossHook',
    'SimplifierMigrationHook',
    'migrate_checkpoints',
]
