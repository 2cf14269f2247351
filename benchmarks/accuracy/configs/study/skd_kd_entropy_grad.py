_base_ = ['./skd_kd_unbounded.py']

# What goes wrong: the simplifier is trained by the target's own entropy too.
model = dict(distiller=dict(entropy_grad=1.0))
