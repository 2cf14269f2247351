_base_ = ['./skd_kd.py']

# A control: the attention of SKD without its softening.
model = dict(distiller=dict(simplifier=dict(start_factor=1)))
