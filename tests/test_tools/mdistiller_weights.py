"""Random weights by the names and shapes of mdistiller's networks, written by hand."""

import torch


def conv(name, out_channels, in_channels, kernel_size, bias=False):
    shapes = {f'{name}.weight': (out_channels, in_channels, kernel_size, kernel_size)}
    return shapes | ({f'{name}.bias': (out_channels,)} if bias else {})


def norm(name, channels):
    vectors = ('weight', 'bias', 'running_mean', 'running_var')
    return {f'{name}.{vector}': (channels,) for vector in vectors} | {
        f'{name}.num_batches_tracked': ()
    }


def linear(name, channels):
    return {f'{name}.weight': (100, channels), f'{name}.bias': (100,)}


def resnet8x4():
    shapes = conv('conv1', 32, 3, 3) | norm('bn1', 32)
    for stage, (before, width) in enumerate([(32, 64), (64, 128), (128, 256)], 1):
        block = f'layer{stage}.0'
        shapes |= conv(f'{block}.conv1', width, before, 3) | norm(f'{block}.bn1', width)
        shapes |= conv(f'{block}.conv2', width, width, 3) | norm(f'{block}.bn2', width)
        shapes |= conv(f'{block}.downsample.0', width, before, 1)
        shapes |= norm(f'{block}.downsample.1', width)
    return shapes | linear('fc', 256)


def wrn16_2():
    shapes = conv('conv1', 16, 3, 3)
    for stage, (before, width) in enumerate([(16, 32), (32, 64), (64, 128)], 1):
        for block in (f'block{stage}.layer.0', f'block{stage}.layer.1'):
            shapes |= norm(f'{block}.bn1', before) | conv(f'{block}.conv1', width, before, 3)
            shapes |= norm(f'{block}.bn2', width) | conv(f'{block}.conv2', width, width, 3)
            if before != width:
                shapes |= conv(f'{block}.convShortcut', width, before, 1)
            before = width
    return shapes | norm('bn1', 128) | linear('fc', 128)


def vgg13():
    shapes, before = {}, 3
    for stage, width in enumerate((64, 128, 256, 512, 512)):
        for index in (0, 3):
            shapes |= conv(f'block{stage}.{index}', width, before, 3, bias=True)
            shapes |= norm(f'block{stage}.{index + 1}', width)
            before = width
    return shapes | linear('classifier', 512)


def mobilenetv2():
    shapes, before = conv('conv1.0', 16, 3, 3) | norm('conv1.1', 16), 16
    widths = ([8], [12] * 2, [16] * 3, [32] * 4, [48] * 3, [80] * 3, [160])
    for stage, blocks in enumerate(widths):
        for block, width in enumerate(blocks):
            name, mid = f'blocks.{stage}.{block}.conv', before * (6 if stage else 1)
            shapes |= conv(f'{name}.0', mid, before, 1) | norm(f'{name}.1', mid)
            shapes |= conv(f'{name}.3', mid, 1, 3) | norm(f'{name}.4', mid)
            shapes |= conv(f'{name}.6', width, mid, 1) | norm(f'{name}.7', width)
            before = width
    shapes |= conv('conv2.0', 1280, 160, 1) | norm('conv2.1', 1280)
    return shapes | linear('classifier.0', 1280)


def shufflenetv1():
    shapes, before = conv('conv1', 24, 3, 1) | norm('bn1', 24), 24
    for stage, (width, units) in enumerate([(240, 4), (480, 8), (960, 4)], 1):
        for unit in range(units):
            name, groups = f'layer{stage}.{unit}', 1 if before == 24 else 3
            own = width if unit else width - before
            mid = own // 4
            shapes |= conv(f'{name}.conv1', mid, before // groups, 1) | norm(f'{name}.bn1', mid)
            shapes |= conv(f'{name}.conv2', mid, 1, 3) | norm(f'{name}.bn2', mid)
            shapes |= conv(f'{name}.conv3', own, mid // 3, 1) | norm(f'{name}.bn3', own)
            before = width
    return shapes | linear('linear', 960)


def shufflenetv2():
    shapes, before = conv('conv1', 24, 3, 1) | norm('bn1', 24), 24
    for stage, (width, blocks) in enumerate([(116, 4), (232, 8), (464, 4)], 1):
        half = width // 2
        for block in range(blocks):
            name = f'layer{stage}.{block}'
            layers = [(half, half, 1), (half, 1, 3), (half, half, 1)]
            if block == 0:
                left = [(before, 1, 3), (half, before, 1)]
                layers = [*left, (half, before, 1), (half, 1, 3), (half, half, 1)]
            for index, layer in enumerate(layers, 1):
                shapes |= conv(f'{name}.conv{index}', *layer) | norm(f'{name}.bn{index}', layer[0])
        before = width
    return shapes | conv('conv2', 1024, 464, 1) | norm('bn2', 1024) | linear('linear', 1024)


def resnet50():
    shapes, before = conv('conv1', 64, 3, 3) | norm('bn1', 64), 64
    for stage, (mid, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], 1):
        for block in range(blocks):
            name = f'layer{stage}.{block}'
            shapes |= conv(f'{name}.conv1', mid, before, 1) | norm(f'{name}.bn1', mid)
            shapes |= conv(f'{name}.conv2', mid, mid, 3) | norm(f'{name}.bn2', mid)
            shapes |= conv(f'{name}.conv3', 4 * mid, mid, 1) | norm(f'{name}.bn3', 4 * mid)
            if block == 0:
                shapes |= conv(f'{name}.shortcut.0', 4 * mid, before, 1)
                shapes |= norm(f'{name}.shortcut.1', 4 * mid)
            before = 4 * mid
    return shapes | linear('linear', 2048)


def weights(shapes):
    """Random weights, small enough for a forward; variances are positive."""
    return {
        name: torch.randint(9, shape)
        if name.endswith('tracked')
        else torch.rand(shape) + 0.5
        if name.endswith('var')
        else torch.randn(shape) * 0.1
        for name, shape in shapes.items()
    }
