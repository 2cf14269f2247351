# ResNet-50 -> MobileNetV2, our own choice; the literature has V1, in imagenet_networks.py.
_base_ = ['./resnet34_resnet18_imagenet.py']

model = dict(
    architecture=dict(cfg_path='mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py'),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet50_8xb32_in1k.py'),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth',
)
