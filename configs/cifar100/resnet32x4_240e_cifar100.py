_base_ = [
    '../_base_/models/cifar100_networks.py',
    '../_base_/datasets/{{$CIFAR100_DATASET:cifar100}}_bs64.py',
    '../_base_/schedules/cifar100_240e.py',
]

model = _base_.resnet32x4
