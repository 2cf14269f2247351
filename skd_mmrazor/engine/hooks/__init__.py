"""Hooks for the speed, reproducibility and inspection of training."""

from .channels_last_hook import ChannelsLastHook
from .check_invalid_loss_hook import CheckInvalidLossHook
from .epoch_seed_hook import EpochSeedHook
from .frozen_teacher_hook import FrozenTeacherHook
from .loss_weight_warmup_hook import LossWeightWarmupHook
from .simplifier_migration_hook import SimplifierMigrationHook
from .simplifier_visualization_hook import SimplifierVisualizationHook
from .stored_teacher_hook import StoredTeacherHook

__all__ = [
    'ChannelsLastHook',
    'CheckInvalidLossHook',
    'EpochSeedHook',
    'FrozenTeacherHook',
    'LossWeightWarmupHook',
    'SimplifierMigrationHook',
    'SimplifierVisualizationHook',
    'StoredTeacherHook',
]
