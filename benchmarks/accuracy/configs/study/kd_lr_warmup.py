_base_ = ['./kd.py']

# A control: a student that learns slowly at first, by its learning rate and not by its target.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=15, begin=5, end=20, convert_to_iter_based=True),
]
