_base_ = [
    '../_base_/methods/crd_cifar100.py',
    '../_base_/datasets/{{$CIFAR100_DATASET:cifar100}}_bs64.py',
]

model = dict(
    architecture=_base_.resnet8x4,
    teacher=_base_.resnet32x4,
    teacher_ckpt='work_dirs/resnet32x4_240e_cifar100/epoch_{{$CIFAR100_EPOCHS:240}}.pth',
)
# Every image comes with the numbers of 16,384 images of other classes.
train_dataset = _base_.train_dataloader.dataset
# They are packed image by image: what InMemoryDataset wraps takes its place.
train_dataset = train_dataset.get('dataset', train_dataset)
train_dataset.update(_scope_='mmpretrain')
train_dataset.pipeline[-1] = dict(type='mmrazor.PackCRDClsInputs')
train_dataloader = dict(
    num_workers=2,
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        _delete_=True,
        _scope_='mmrazor',
        type='CRDDataset',
        dataset=train_dataset,
        neg_num=16384,
        sample_mode='exact',
        percent=1.0,
    ),
)
