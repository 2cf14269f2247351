_base_ = ['./skd_kd.py']

# A control: SKD whose queries and keys stay as they are drawn; it learns λ alone.
frozen = dict(lr_mult=0, decay_mult=0)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'simplifier.attention': frozen}))
