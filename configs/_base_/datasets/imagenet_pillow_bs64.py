# ImageNet as torchvision reads and resizes it, and so the literature: by PIL, which averages over
# what a smaller image leaves out, and does not turn an image as its EXIF data say.
_base_ = ['mmpretrain::_base_/datasets/imagenet_bs32_pil_resize.py']

_load = dict(
    type='LoadImageFromFile', imdecode_backend='pillow', color_type='color_ignore_orientation'
)
data_preprocessor = dict(type='mmpretrain.ClsDataPreprocessor')
train_dataloader = dict(
    batch_size=64,
    collate_fn=dict(type='default_collate'),
    pin_memory=True,
    dataset=dict(pipeline=[_load, *_base_.train_dataloader.dataset.pipeline[1:]]),
)
val_dataloader = dict(
    batch_size=64,
    collate_fn=dict(type='default_collate'),
    pin_memory=True,
    persistent_workers=True,
    dataset=dict(pipeline=[_load, *_base_.val_dataloader.dataset.pipeline[1:]]),
)
test_dataloader = val_dataloader
