_base_ = ['mmpretrain::_base_/default_runtime.py']

custom_hooks = [dict(type='mmrazor.EpochSeedHook'), dict(type='mmrazor.CheckInvalidLossHook')]
