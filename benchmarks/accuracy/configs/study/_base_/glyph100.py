# 10,000 images of Glyph100, whose test has fonts that its training has not.
_base_ = ['./recipe_20e.py']

data_preprocessor = dict(
    type='mmpretrain.ClsDataPreprocessor', num_classes=100, mean=[127.0] * 3, std=[50.0] * 3
)
teacher = dict(
    backbone=dict(in_channels=3),
    head=dict(num_classes=100),
)
student = dict(
    backbone=dict(in_channels=3, stem_channels=8, base_channels=8),
    head=dict(num_classes=100, in_channels=16),
)

images = dict(_scope_='mmpretrain', type='skd_mmrazor.Glyph100', data_root='data/glyph100')
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            split='train',
            indices=10000,
            pipeline=[
                dict(type='RandomCrop', crop_size=32, padding=2),
                dict(type='PackInputs'),
            ],
            **images,
        )
    )
)
val_dataloader = dict(dataset=dict(dataset=images))
test_dataloader = val_dataloader

# KD: the best on the images held out. DKD has its temperature and is not tuned.
kd = dict(tau=4, loss_weight=1)
dkd = dict(tau=4, alpha=1, beta=2)
