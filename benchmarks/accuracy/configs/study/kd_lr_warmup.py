_base_ = ['./kd.py']

# A control: a student that learns slowly at first, by its learning rate and not by its target.
param_scheduler = _base_.lr_warmup
