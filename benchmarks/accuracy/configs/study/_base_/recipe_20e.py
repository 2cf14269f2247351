# What the data sets of the study share. The networks have half the height and width from the
# first block on: those of the digits at a quarter of the time.
# STUDY_SPLIT=val evaluates on the last 10,000 of the training images, in place of the test's.
# STUDY_LR_WARMUP=yes lets the learning rate of the students grow over the first 5 epochs.
_base_ = [
    '../../../../../configs/_base_/models/resnet14-w16_resnet10-w4_digits.py',
    '../../../../../configs/_base_/schedules/digits_60e.py',
]
custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)

teacher = dict(backbone=dict(strides=(2, 2, 1)))
student = dict(backbone=dict(strides=(2, 2)))

loader = dict(
    num_workers=0,
    persistent_workers=False,
    collate_fn=dict(type='torch.utils.data.default_convert'),
)
train_dataloader = dict(
    batch_size=64,
    drop_last=True,
    dataset=dict(type='skd_mmrazor.InMemoryDataset'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    **loader,
)
# By its split alone, mmpretrain's FashionMNIST reads the training images for the test's.
held_out = dict(val=dict(split='train', indices=-10000), test=dict(split='test', test_mode=True))
held_out = held_out['{{$STUDY_SPLIT:test}}']
val_dataloader = dict(
    batch_size=500,
    dataset=dict(
        type='skd_mmrazor.InMemoryDataset',
        dataset=dict(pipeline=[dict(type='PackInputs')], **held_out),
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
    **loader,
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_dataloader = val_dataloader
test_evaluator = val_evaluator

lr_warmup = [
    dict(type='LinearLR', start_factor=0.01, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=15, begin=5, end=20, convert_to_iter_based=True),
]
param_scheduler = dict(no=dict(T_max=20, end=20), yes=lr_warmup)
param_scheduler = param_scheduler['{{$STUDY_LR_WARMUP:no}}']
train_cfg = dict(max_epochs=20, val_interval=20)
default_hooks = dict(checkpoint=dict(interval=20))

# Not tuned.
dist = dict(loss_weight=1)
rkd = 25.0
at = 1000.0
