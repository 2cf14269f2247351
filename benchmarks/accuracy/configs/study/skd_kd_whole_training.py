_base_ = ['./skd_kd.py']

# The softening fades over the whole training.
model = dict(distiller=dict(simplifier=dict(warmup_iters=1000000)))
