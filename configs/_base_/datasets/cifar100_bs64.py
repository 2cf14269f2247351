# CIFAR-100 as the literature on distillation has it: 64 images a step.
_base_ = ['mmpretrain::_base_/datasets/cifar100_bs16.py']

data_preprocessor = dict(type='mmpretrain.ClsDataPreprocessor')

train_dataloader = dict(batch_size=64)
val_dataloader = dict(batch_size=256)
val_evaluator = dict(topk=(1, 5))

test_dataloader = val_dataloader
test_evaluator = val_evaluator
