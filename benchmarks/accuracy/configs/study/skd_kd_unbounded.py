_base_ = ['./skd_kd.py']

# What goes wrong: nearly nothing bounds λ, and no schedule softens the target.
model = dict(distiller=dict(simplifier=dict(start_factor=1, max_lam=0.9)))
