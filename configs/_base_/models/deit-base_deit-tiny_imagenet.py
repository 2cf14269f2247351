# DeiT-B -> DeiT-T, whose logits have another name.
_base_ = ['./resnet34_resnet18_imagenet.py']

model = dict(
    architecture=dict(cfg_path='mmpretrain::deit/deit-tiny_4xb256_in1k.py'),
    # mmpretrain's DeiT-B without its drop path: mmrazor leaves that of a teacher on.
    teacher=dict(
        _delete_=True,
        _scope_='mmpretrain',
        type='ImageClassifier',
        backbone=dict(type='VisionTransformer', arch='deit-base', img_size=224, patch_size=16),
        neck=None,
        head=dict(
            type='VisionTransformerClsHead',
            num_classes=1000,
            in_channels=768,
            loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        ),
    ),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/deit/deit-base_pt-16xb64_in1k_20220216-db63c16c.pth',
    distiller=dict(
        student_recorders=dict(fc=dict(source='head.layers.head')),
        teacher_recorders=dict(fc=dict(source='head.layers.head')),
    ),
)
