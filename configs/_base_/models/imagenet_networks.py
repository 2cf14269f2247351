# The ImageNet networks of the distillation literature, as cifar100_networks.py has those of
# CIFAR-100. Students start as there: every block of a ResNet with its whole branch, linear layers
# by torch's default. Teachers have torchvision's weights.
custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)


def classifier(in_channels, weights=None, **backbone):
    """A classifier of 1,000 classes, with weights of torchvision or none."""
    pretrained = None
    if weights:
        url = f'https://download.pytorch.org/models/{weights}.pth'
        # Backbone and head have torchvision's names, and each loads its own weights.
        backbone['init_cfg'] = pretrained = dict(type='Pretrained', checkpoint=url)
    return dict(
        _scope_='mmpretrain',
        type='ImageClassifier',
        backbone=backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=1000,
            in_channels=in_channels,
            init_cfg=pretrained,
            loss=dict(type='CrossEntropyLoss'),
            topk=(1, 5),
        ),
    )


resnet18 = classifier(512, type='ResNet', depth=18, zero_init_residual=False)
mobilenetv1 = classifier(1024, type='skd_mmrazor.MobileNetV1')
# 73.31 and 76.13 % top-1, by torchvision.
resnet34 = classifier(512, 'resnet34-333f7ec4', type='ResNet', depth=34)
resnet50 = classifier(2048, 'resnet50-19c8e357', type='ResNet', depth=50)
