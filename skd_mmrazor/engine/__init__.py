"""What knows the runner, laid out as in ``mmrazor.engine``."""

from .hooks import (
    EpochSeedHook,
    FrozenTeacherHook,
    NonFiniteLossHook,
    SimplifierMigrationHook,
    migrate_checkpoints,
)

__all__ = [
    'EpochSeedHook',
    'FrozenTeacherHook',
    'NonFiniteLossHook',
    'SimplifierMigrationHook',
    'migrate_checkpoints',
]
