# CWD on the pyramid, and SKD on the logits of all levels.
_base_ = ['mmrazor::distill/mmdet/cwd/cwd_cls_head_gfl_r101_fpn_gfl_r50_fpn_1x_coco.py']

custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)
model = dict(
    type='SingleTeacherDistill',  # FpnTeacherDistill leaves the teacher's head out.
    teacher=dict(pretrained=False),  # They come by teacher_ckpt.
    distiller=dict(
        type='SKDDistiller',
        simplifier=dict(type='AttentionSimplifierConnector')))  # fmt: skip
