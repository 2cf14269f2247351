# 6,000 images of Fashion-MNIST, so that the student has less to learn from than it can hold.
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
val_dataloader = dict(dataset=dict(dataset=images))
test_dataloader = val_dataloader

# The best of the base methods on the images held out.
kd = dict(tau=1, loss_weight=4)
dkd = dict(tau=1, alpha=4, beta=2)
dist = dict(loss_weight=2)
rkd = 5.0
at = 100.0
