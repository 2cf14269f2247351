_base_ = ['./skd_kd.py']

# A control: the softening of SKD without its attention.
model = dict(distiller=dict(simplifier=dict(max_lam=0, learn_lam=False)))
