_base_ = ['./kd.py']

# A control: KD that pulls less at first, to the same target.
custom_hooks = [*_base_.custom_hooks, dict(type='mmrazor.LossWeightWarmupHook', epochs=20)]
