# CIFAR-100 as the literature on distillation has it: 64 images a step.
_base_ = ['mmpretrain::_base_/datasets/cifar100_bs16.py']

data_preprocessor = dict(
    type='mmpretrain.ClsDataPreprocessor',
    # 255 times the literature's numbers, with which its teachers were trained:
    # 0.5071, 0.4867, 0.4408 and 0.2675, 0.2565, 0.2761.
    mean=[129.3105, 124.1085, 112.404],
    std=[68.2125, 65.4075, 70.4055],
)

train_dataloader = dict(batch_size=64)
val_dataloader = dict(batch_size=256)
val_evaluator = dict(topk=(1, 5))

test_dataloader = val_dataloader
test_evaluator = val_evaluator
