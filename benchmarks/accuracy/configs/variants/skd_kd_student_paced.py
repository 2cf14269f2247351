_base_ = ['../study/skd_kd.py']

custom_imports = dict(
    imports=['skd_mmrazor', 'benchmarks.accuracy.variants'], allow_failed_imports=False
)
model = dict(
    distiller=dict(type='StudentAwareSKDDistiller', simplifier=dict(type='StudentPacedSimplifier'))
)
