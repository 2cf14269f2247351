_base_ = [
    '../_base_/methods/dkd_cifar100.py',
    '../_base_/datasets/{{$CIFAR100_DATASET:cifar100}}_bs64.py',
]

model = dict(
    architecture=_base_.shufflenetv1,
    teacher=_base_.resnet32x4,
    teacher_ckpt='work_dirs/resnet32x4_240e_cifar100/epoch_{{$CIFAR100_EPOCHS:240}}.pth',
    distiller=dict(distill_losses=dict(loss_dkd=dict(beta=8))),
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
