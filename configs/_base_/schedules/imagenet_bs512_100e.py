# The literature's 100 epochs of 512 images a step: lr 0.2, divided by 10 at 30, 60 and 90.
_base_ = ['mmpretrain::_base_/schedules/imagenet_bs256.py']

optim_wrapper = dict(optimizer=dict(lr=0.2))
auto_scale_lr = dict(base_batch_size=512)
