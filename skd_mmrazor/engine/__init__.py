"""What knows the runner, laid out as in ``mmrazor.engine``."""

from .hooks import (
    EpochSeedHook,
    FrozenTeacherHook,
    NonFiniteLossHook,
    SimplifierMigrationHook,
    migrate_checkpoints,
)
from .runner import FrozenTeacherValLoop

__all__ = [
    'EpochSeedHook',
    'FrozenTeacherHook',
    'FrozenTeacherValLoop',
    'NonFiniteLossHook',
    'SimplifierMigrationHook',
    'migrate_checkpoints',
]
