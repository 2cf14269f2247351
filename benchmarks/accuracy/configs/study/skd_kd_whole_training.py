_base_ = ['./skd_kd.py']

# The softening fades over the whole training: 20 epochs of 6,000 images in batches of 64.
model = dict(distiller=dict(simplifier=dict(warmup_iters=1880)))
