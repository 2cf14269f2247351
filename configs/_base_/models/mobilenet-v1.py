# MobileNetV1 for 1,000 classes, which starts as the literature's does: by torch's defaults.
model = dict(
    _scope_='mmpretrain',
    type='ImageClassifier',
    backbone=dict(type='MobileNetV1'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=1024,
        init_cfg=None,
        loss=dict(type='CrossEntropyLoss'),
        topk=(1, 5),
    ),
)
