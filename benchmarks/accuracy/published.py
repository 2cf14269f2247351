"""Published top-1 accuracies on CIFAR-100, each read at the source that it links to."""

_REPDISTILLER = (
    'https://github.com/HobbitLong/RepDistiller/blob/b84f547c5db6a35318d4671d7d5c4de74c822403/'
    'README.md#benchmark-results-on-cifar-100'
)
_MDISTILLER = (
    'https://github.com/megvii-research/mdistiller/blob/a08d46f10d6102bd6e3f258ca5ac880b020ea259/'
    'README.md#main-benchmark-results-1'
)
# RepDistiller's, in the order of its columns: those of the last epoch (train_student.py).
_PAIRS = (
    *('wrn40-2_wrn16-2', 'wrn40-2_wrn40-1', 'resnet56_resnet20', 'resnet110_resnet20'),
    *('resnet110_resnet32', 'resnet32x4_resnet8x4', 'vgg13_vgg8', 'vgg13_mobilenet-v2'),
    *('resnet50_mobilenet-v2', 'resnet50_vgg8', 'resnet32x4_shufflenet-v1'),
    *('resnet32x4_shufflenet-v2', 'wrn40-2_shufflenet-v1'),
)
_LAST = dict(
    kd='74.92 73.54 70.66 70.67 73.08 73.33 72.98 67.37 67.35 73.81 74.07 74.45 74.83',
    fitnets='73.58 72.24 69.21 68.99 71.06 73.50 71.02 64.14 63.16 70.69 73.59 73.54 73.73',
    at='74.08 72.77 70.55 70.22 72.31 73.44 71.43 59.40 58.58 71.84 71.73 72.73 73.32',
    rkd='73.35 72.22 69.61 69.25 71.82 71.90 71.48 64.52 64.43 71.50 72.28 73.21 72.21',
    crd='75.48 74.14 71.16 71.46 73.48 75.51 73.94 69.73 69.11 74.30 75.11 75.65 76.05',
)
_ALONE = {
    **{'wrn40-2': '75.61', 'wrn16-2': '73.26', 'wrn40-1': '71.98', 'vgg13': '74.64'},
    **{'resnet56': '72.34', 'resnet20': '69.06', 'resnet110': '74.31', 'resnet32': '71.14'},
    **{'resnet32x4': '79.42', 'resnet8x4': '72.50', 'vgg8': '70.36', 'resnet50': '79.34'},
    **{'mobilenet-v2': '64.60', 'shufflenet-v1': '70.50', 'shufflenet-v2': '71.82'},
}
# mdistiller's: those of the best epoch on the test images, as its trainer reports. Its column
# "ResNet32x4 -> MobileNet-V2" has ShuffleNet-V2: its KD equals RepDistiller's of that pair.
_BEST = {
    **{'resnet56_resnet20': '71.97', 'resnet110_resnet32': '74.11'},
    **{'resnet32x4_resnet8x4': '76.32', 'wrn40-2_wrn16-2': '76.23', 'wrn40-2_wrn40-1': '74.81'},
    **{'vgg13_vgg8': '74.68', 'resnet32x4_shufflenet-v1': '76.45'},
    **{'wrn40-2_shufflenet-v1': '76.70', 'vgg13_mobilenet-v2': '69.71'},
    **{'resnet50_mobilenet-v2': '70.35', 'resnet32x4_shufflenet-v2': '77.07'},
}
# By the name of a config, without what follows the networks; as Markdown.
PUBLISHED = {
    **{name: f'[{value}, last]({_REPDISTILLER})' for name, value in _ALONE.items()},
    **{
        f'{method}_{pair}': f'[{value}, last]({_REPDISTILLER})'
        for method, values in _LAST.items()
        for pair, value in zip(_PAIRS, values.split(), strict=True)
    },
    **{f'dkd_{pair}': f'[{value}, best]({_MDISTILLER})' for pair, value in _BEST.items()},
}
