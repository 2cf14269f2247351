# CIFAR-100 held in memory: the same crops and flips, a whole batch at once.
_base_ = ['./cifar100_bs64.py']

train_dataloader = dict(
    num_workers=0,
    collate_fn=dict(type='torch.utils.data.default_convert'),
    dataset=dict(
        _delete_=True, type='skd_mmrazor.InMemoryDataset', dataset=_base_.train_dataloader.dataset
    ),
)
val_dataloader = dict(
    num_workers=0,
    collate_fn=dict(type='torch.utils.data.default_convert'),
    dataset=dict(
        _delete_=True, type='skd_mmrazor.InMemoryDataset', dataset=_base_.val_dataloader.dataset
    ),
)
test_dataloader = val_dataloader
