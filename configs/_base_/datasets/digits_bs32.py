# scikit-learn's handwritten digits: 8 x 8, one channel, ten classes.
custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)

data_preprocessor = dict(
    type='mmpretrain.ClsDataPreprocessor', num_classes=10, mean=[78.4], std=[96.1]
)

train_dataloader = dict(
    batch_size=32,
    # 898 = 28 * 32 + 2, and two images are too few for batch norm.
    drop_last=True,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='skd_mmrazor.Digits',
        split='train',
        pipeline=[dict(type='RandomCrop', crop_size=8, padding=1), dict(type='PackInputs')],
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
)

val_dataloader = dict(
    batch_size=256,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(type='skd_mmrazor.Digits', split='val', pipeline=[dict(type='PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1,))

# A picture in a file has three channels, which are equal here.
test_dataloader = dict(
    batch_size=256,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='skd_mmrazor.Digits',
        split='val',
        pipeline=[
            dict(type='RandomGrayscale', prob=1.0, channel_weights=(1, 2, 1)),
            dict(type='PackInputs'),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_evaluator = val_evaluator
