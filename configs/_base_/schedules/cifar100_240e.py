# CIFAR-100 as the literature on distillation has it: 64 images a step, lr 0.05.
# For MobileNet and ShuffleNet students: optim_wrapper = dict(optimizer=dict(lr=0.01)).
_base_ = ['../default_runtime.py']

# CIFAR100_EPOCHS=24 in the environment is a tenth of the whole schedule.
epochs = {{'$CIFAR100_EPOCHS:240'}}

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4))
param_scheduler = dict(
    type='MultiStepLR',
    by_epoch=True,
    milestones=[epochs * 5 // 8, epochs * 3 // 4, epochs * 7 // 8],
    gamma=0.1,
)

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=1)
val_cfg = dict()
test_cfg = dict()

default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=64)
randomness = dict(seed=0)
