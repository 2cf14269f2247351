lr_warmup = [
    dict(type='LinearLR', start_factor=0.01, end=15, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=45, begin=15, end=60, convert_to_iter_based=True),
]
