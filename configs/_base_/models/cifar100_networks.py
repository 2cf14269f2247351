# The CIFAR-100 networks of the distillation literature. An experiment takes two:
#     _base_ = ['…/_base_/models/cifar100_networks.py']
#     model = dict(architecture=_base_.resnet8x4, teacher=_base_.resnet32x4, …)
# Here, where every experiment has it once: two bases may not set the same key.
custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)


def classifier(in_channels, **backbone):
    """A classifier of 32x32 images, 100 classes."""
    # The linear layers of these two start small, those of the others as torch's do;
    # WRN's with a bias of 0, which is the default of every ``init_cfg``.
    init_cfg = None
    if backbone['type'] in ('skd_mmrazor.CIFARVGG', 'skd_mmrazor.CIFARMobileNetV2'):
        init_cfg = dict(type='Normal', layer='Linear', std=0.01)
    if backbone['type'] == 'skd_mmrazor.CIFARWideResNet':
        init_cfg = dict(
            type='Kaiming',
            layer='Linear',
            a=5**0.5,
            mode='fan_in',
            nonlinearity='leaky_relu',
            distribution='uniform',
        )
    return dict(
        _scope_='mmpretrain',
        type='ImageClassifier',
        backbone=backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=100,
            in_channels=in_channels,
            init_cfg=init_cfg,
            loss=dict(type='CrossEntropyLoss'),
        ),
    )


resnet20 = classifier(64, type='skd_mmrazor.CIFARResNet', depth=20)
resnet32 = classifier(64, type='skd_mmrazor.CIFARResNet', depth=32)
resnet44 = classifier(64, type='skd_mmrazor.CIFARResNet', depth=44)
resnet56 = classifier(64, type='skd_mmrazor.CIFARResNet', depth=56)
resnet110 = classifier(64, type='skd_mmrazor.CIFARResNet', depth=110)
resnet8x4 = classifier(
    256, type='skd_mmrazor.CIFARResNet', depth=8, stem_channels=32, base_channels=64
)
resnet32x4 = classifier(
    256, type='skd_mmrazor.CIFARResNet', depth=32, stem_channels=32, base_channels=64
)
wrn16_1 = classifier(64, type='skd_mmrazor.CIFARWideResNet', depth=16, widen_factor=1)
wrn16_2 = classifier(128, type='skd_mmrazor.CIFARWideResNet', depth=16, widen_factor=2)
wrn40_1 = classifier(64, type='skd_mmrazor.CIFARWideResNet', depth=40, widen_factor=1)
wrn40_2 = classifier(128, type='skd_mmrazor.CIFARWideResNet', depth=40, widen_factor=2)
vgg8 = classifier(512, type='skd_mmrazor.CIFARVGG', depth=8)
vgg11 = classifier(512, type='skd_mmrazor.CIFARVGG', depth=11)
vgg13 = classifier(512, type='skd_mmrazor.CIFARVGG', depth=13)
mobilenetv2 = classifier(1280, type='skd_mmrazor.CIFARMobileNetV2', widen_factor=0.5)
shufflenetv1 = classifier(960, type='skd_mmrazor.CIFARShuffleNetV1')
shufflenetv2 = classifier(1024, type='skd_mmrazor.CIFARShuffleNetV2')
# mmpretrain's own, in which a recorder on a bn3 gets what comes after the ReLU.
resnet50 = classifier(2048, type='ResNet_CIFAR', depth=50, zero_init_residual=False)
