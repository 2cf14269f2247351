_base_ = [
    '../_base_/methods/kd_cifar100.py',
    '../_base_/datasets/{{$CIFAR100_DATASET:cifar100}}_bs64.py',
]

model = dict(
    architecture=_base_.vgg8,
    teacher=_base_.vgg13,
    teacher_ckpt='work_dirs/vgg13_240e_cifar100/epoch_{{$CIFAR100_EPOCHS:240}}.pth',
)
