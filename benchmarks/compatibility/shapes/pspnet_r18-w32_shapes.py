"""The teacher: a PSPNet, half as wide as mmsegmentation's, on 256 small pictures of shapes.

CWD is compared with SKD + CWD on it, paired by seed (two minutes of one CPU a run; results
are in benchmarks/accuracy/README.md)::

    python -m benchmarks.compatibility.tiny_shapes data/shapes --images 256
    python tools/train.py benchmarks/compatibility/shapes/pspnet_r18-w32_shapes.py
    python -m benchmarks.accuracy.compare benchmarks/compatibility/shapes/*cwd*.py --metric mIoU
"""

default_scope = 'mmseg'
custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)

dataset = dict(
    type='CityscapesDataset',
    data_root='data/shapes',
    metainfo=dict(
        classes=('road', 'sky', 'person', 'car'),
        palette=[[128, 64, 128], [70, 130, 180], [220, 20, 60], [0, 0, 142]],
    ),
)
train_dataloader = dict(
    batch_size=8,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        dataset,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        dataset,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

data_preprocessor = dict(
    type='mmseg.SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(64, 128),
    test_cfg=dict(size=(64, 128)),
)

head = dict(num_classes=4, norm_cfg=dict(type='BN'), align_corners=False)
model = dict(
    _scope_='mmseg',
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        base_channels=32,
        stem_channels=32,
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        contract_dilation=True,
    ),
    decode_head=dict(
        head, type='PSPHead', in_channels=256, in_index=3, channels=64, pool_scales=(1, 2, 3, 6)
    ),
    auxiliary_head=dict(
        head,
        type='FCNHead',
        in_channels=128,
        in_index=2,
        channels=32,
        num_convs=1,
        concat_input=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

max_iters = 800
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=200)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4)
)
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, end=max_iters, by_epoch=False)]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=200, max_keep_ckpts=1),
)
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
