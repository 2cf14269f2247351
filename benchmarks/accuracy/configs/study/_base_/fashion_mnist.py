# 6,000 images of Fashion-MNIST, so that the student has less to learn from than it can hold.
# STUDY_SPLIT=val evaluates on the last 10,000 of the training images, in place of the test's.
_base_ = ['./recipe_20e.py']

data_preprocessor = dict(
    type='mmpretrain.ClsDataPreprocessor', num_classes=10, mean=[72.9], std=[90.0]
)
images = dict(_scope_='mmpretrain', type='FashionMNIST', data_root='data/fashion-mnist')
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            split='train',
            indices=6000,
            pipeline=[
                dict(type='RandomCrop', crop_size=28, padding=2),
                dict(type='RandomFlip', prob=0.5, direction='horizontal'),
                dict(type='PackInputs'),
            ],
            **images,
        )
    )
)
held_out = dict(val=dict(split='train', indices=-10000), test=dict(split='test'))
held_out = held_out['{{$STUDY_SPLIT:test}}']
val_dataloader = dict(
    dataset=dict(dataset=dict(pipeline=[dict(type='PackInputs')], **held_out, **images))
)
test_dataloader = val_dataloader
test_evaluator = _base_.val_evaluator

# The best of the base methods on the images held out.
kd = dict(tau=1, loss_weight=4)
dkd = dict(tau=1, alpha=4, beta=2)
dist = dict(loss_weight=1)
rkd = 25.0
at = 1000.0
