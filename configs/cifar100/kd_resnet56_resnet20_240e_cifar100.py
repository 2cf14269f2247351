_base_ = [
    '../_base_/methods/kd_cifar100.py',
    '../_base_/datasets/{{$CIFAR100_DATASET:cifar100}}_bs64.py',
]

model = dict(
    architecture=_base_.resnet20,
    teacher=_base_.resnet56,
    teacher_ckpt='work_dirs/resnet56_240e_cifar100/epoch_{{$CIFAR100_EPOCHS:240}}.pth',
)
