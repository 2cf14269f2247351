# The student alone.
_base_ = ['./resnet14-w16_60e_digits.py']

model = dict(_delete_=True, **_base_.student)
