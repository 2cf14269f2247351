# The images of a batch as one tensor, which is copied to the device and normalised at once.
# Pinned memory is copied to a GPU faster, and workers that stay need not be started for
# each validation; EpochSeedHook starts those of the training anew.
_base_ = ['mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py']

train_dataloader = dict(collate_fn=dict(type='default_collate'), pin_memory=True)
val_dataloader = dict(
    collate_fn=dict(type='default_collate'), pin_memory=True, persistent_workers=True
)
test_dataloader = val_dataloader
