# The teacher.
_base_ = [
    '../_base_/models/resnet14-w16_resnet10-w4_digits.py',
    '../_base_/datasets/digits_bs32.py',
    '../_base_/schedules/digits_60e.py',
]

model = _base_.teacher
