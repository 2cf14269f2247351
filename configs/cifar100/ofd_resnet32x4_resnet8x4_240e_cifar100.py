_base_ = [
    '../_base_/methods/ofd_cifar100.py',
    '../_base_/datasets/{{$CIFAR100_DATASET:cifar100}}_bs64.py',
]

model = dict(
    architecture=_base_.resnet8x4,
    teacher=_base_.resnet32x4,
    teacher_ckpt='work_dirs/resnet32x4_240e_cifar100/epoch_{{$CIFAR100_EPOCHS:240}}.pth',
)
