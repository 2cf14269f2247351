# The same losses with the teacher's logits as they are.
_base_ = ['./skd_cwd_fpn_retina_r101_retina_r50_1x_coco.py']

model = dict(distiller=dict(simplifier=dict(max_lam=0)))
