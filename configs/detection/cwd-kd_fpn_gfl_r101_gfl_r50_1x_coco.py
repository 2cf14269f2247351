# The same losses with the teacher's logits as they are.
_base_ = ['./skd_cwd_fpn_gfl_r101_gfl_r50_1x_coco.py']

model = dict(distiller=dict(simplifier=dict(max_lam=0)))
