_base_ = ['../../../../configs/cifar100/skd_kd_resnet32x4_resnet8x4_240e_cifar100.py']

# A control: a student that learns slowly at first, by its learning rate and not by its target.
epochs = {{'$CIFAR100_EPOCHS:240'}}
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=max(1, epochs // 12), convert_to_iter_based=True),
    _base_.param_scheduler,
]
