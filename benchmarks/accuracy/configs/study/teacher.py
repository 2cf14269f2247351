_base_ = ['./_base_/{{$STUDY_DATASET:fashion_mnist}}.py']

model = _base_.teacher
