_base_ = ['./rkd_resnet32x4_resnet8x4_240e_cifar100.py', '../_base_/losses/kd_cifar100.py']

model = dict(distiller=_base_.kd)
