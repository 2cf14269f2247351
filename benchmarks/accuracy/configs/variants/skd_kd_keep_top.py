_base_ = ['../study/skd_kd_no_schedule.py']

custom_imports = dict(
    imports=['skd_mmrazor', 'benchmarks.accuracy.variants'], allow_failed_imports=False
)
model = dict(distiller=dict(simplifier=dict(type='KeepTopSimplifier')))
