# CWD on the pyramid, and SKD on the logits of all levels.
_base_ = ['mmrazor::distill/mmdet/cwd/cwd_fpn_retina_r101_retina_r50_1x_coco.py']

custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)
model = dict(
    type='SingleTeacherDistill',  # FpnTeacherDistill leaves the teacher's head out.
    teacher=dict(pretrained=False),
    # The base's is a Faster R-CNN.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r101_fpn_2x_coco/retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth',
    distiller=dict(
        type='SKDDistiller',
        simplifier=dict(type='AttentionSimplifierConnector')))  # fmt: skip
