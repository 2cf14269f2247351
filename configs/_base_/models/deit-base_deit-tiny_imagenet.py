# DeiT-B -> DeiT-T with recorders on the logits and the labels; the loss is
# left to the config that builds on this one.
custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)

model = dict(
    _scope_='mmrazor',
    type='SingleTeacherDistill',
    data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor',
        num_classes=1000,
        # RGB format normalization parameters
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        # convert image from BGR to RGB
        to_rgb=True,
    ),
    architecture=dict(cfg_path='mmpretrain::deit/deit-tiny_4xb256_in1k.py', pretrained=False),
    teacher=dict(cfg_path='mmpretrain::deit/deit-base_16xb64_in1k.py', pretrained=False),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/deit/deit-base_pt-16xb64_in1k_20220216-db63c16c.pth',
    distiller=dict(
        type='ConfigurableDistiller',
        student_recorders=dict(
            fc=dict(type='ModuleOutputs', source='head.layers.head'),
            gt_labels=dict(type='ModuleInputs', source='head.loss_module'),
        ),
        teacher_recorders=dict(fc=dict(type='ModuleOutputs', source='head.layers.head')),
    ),
)
