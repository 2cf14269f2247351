# DeiT-B -> DeiT-T, whose logits have another name.
_base_ = ['./resnet34_resnet18_imagenet.py']

model = dict(
    architecture=dict(cfg_path='mmpretrain::deit/deit-tiny_4xb256_in1k.py'),
    teacher=dict(cfg_path='mmpretrain::deit/deit-base_16xb64_in1k.py'),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/deit/deit-base_pt-16xb64_in1k_20220216-db63c16c.pth',
    distiller=dict(
        student_recorders=dict(fc=dict(source='head.layers.head')),
        teacher_recorders=dict(fc=dict(source='head.layers.head')),
    ),
)
