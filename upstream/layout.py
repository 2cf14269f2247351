"""Where each file of the plugin goes in mmrazor, and what reads differently there.

Every text below is looked for exactly once: where the plugin has changed, making
the patch fails and names it.
"""

MODULES = {
    'skd_mmrazor.utils.checks': 'mmrazor.utils.checks',
    'skd_mmrazor.models.connectors.attention_simplifier_connector': (
        'mmrazor.models.architectures.connectors.attention_simplifier_connector'
    ),
    'skd_mmrazor.models.utils.attention': 'mmrazor.models.architectures.connectors.attention',
    'skd_mmrazor.models.losses.log_space_dkd_loss': 'mmrazor.models.losses.log_space_dkd_loss',
    'skd_mmrazor.models.losses.log_space_kl_divergence': (
        'mmrazor.models.losses.log_space_kl_divergence'
    ),
    'skd_mmrazor.models.distillers.skd_distiller': 'mmrazor.models.distillers.skd_distiller',
    'skd_mmrazor.models.losses.teacher_gradient': (
        'mmrazor.models.distillers.skd_utils.teacher_gradient'
    ),
    **{
        f'skd_mmrazor.models.distillers.{name}': f'mmrazor.models.distillers.skd_utils.{name}'
        for name in (
            'composition',
            'config_checks',
            'config_errors',
            'logit_losses',
            'model_checks',
            'target_statistics',
        )
    },
}
_TESTS = 'tests.test_models.test_distillers.test_skd'
TESTS = {
    'tests.test_models.test_connector': f'{_TESTS}.test_attention_simplifier_connector',
    'tests.test_models.test_losses': f'{_TESTS}.test_log_space_losses',
    'tests.test_models.test_skd_distiller': f'{_TESTS}.test_skd_distiller',
}
# What is imported from elsewhere than from a file that moves.
IMPORTS = {
    **MODULES,
    'skd_mmrazor.utils': 'mmrazor.utils.checks',
    'skd_mmrazor.models': 'mmrazor.models',
    'skd_mmrazor.models.losses': 'mmrazor.models.losses',
    'tests.conftest': f'{_TESTS}.conftest',
}

# Of tests/conftest.py; the models and batches are in files/.
HELPERS = ('_seed', '_message_hub', 'reach', 'ARGUMENTS', 'distiller', 'algorithm')
# Tests of what patches 3 and 4 mend in mmrazor.
DROPPED_TESTS = (
    'test_mmrazor_dkd_sums_whatever_its_reduction_says',
    'test_mmrazor_dkd_gives_nan_to_the_teacher',
    'test_skd_with_mmrazors_dkd_trains_without_nan_and_keeps_its_weight',
    'test_default_dkd_needs_no_warning',
    # torch 1.8 has no attention that does not hold its weights.
    'test_memory_is_linear_in_the_classes_and_in_the_locations',
)
DROPPED = {
    'skd_mmrazor.models.losses.teacher_gradient': ('_log_space_dkd',),
    'skd_mmrazor.models.utils.attention': ('_attend_in_blocks',),
}

# mmrazor is tested from torch 1.8 and Python 3.7 on.
TEXTS = {
    'skd_mmrazor.models.connectors.attention_simplifier_connector': [
        ("the rest is this project's:", 'the rest is chosen here:'),
        (
            'import torch.nn.functional as F\n',
            'import torch.nn.functional as F\nfrom mmengine.runner import autocast\n',
        ),
        ('with torch.autocast(feature.device.type, enabled=False)', 'with autocast(enabled=False)'),
    ],
    'skd_mmrazor.models.utils.attention': [
        ('import torch.nn.functional as F\n', ''),
        (
            """    length, dims = query.shape[-2], max(query.shape[-1], values.shape[-1])
    # Weights that are no larger than tokens and values are had at once.
    if length <= 2 * dims:
        return get_weights(query, key) @ values
    return _attend_in_blocks(query, key, values)
""",
            '    return get_weights(query, key) @ values\n',
        ),
    ],
    'skd_mmrazor.models.distillers.composition': [
        ('@functools.cache\n', '@functools.lru_cache(maxsize=None)\n'),
    ],
    # mypy 0.812 has to be told.
    'skd_mmrazor.models.distillers.skd_distiller': [
        ('cfg = dict(simplifier)\n', 'cfg = dict(simplifier)  # type: ignore\n'),
        ('def get_record(\n', 'def get_record(  # type: ignore\n'),
    ],
    'skd_mmrazor.models.losses.log_space_dkd_loss': [
        (
            """    mmrazor's ``DKDLoss`` differs in two ways. It puts an exact 0 into the
    teacher's distribution, for which ``F.kl_div`` has a NaN gradient: it cannot
    train a simplifier. And it passes ``size_average=False`` beside
    ``reduction``, which torch obeys: its ``'mean'``, which mmrazor's own DKD
    config sets, and its ``'none'`` are *sums* over the batch. Only its default,
    ``'batchmean'``, divides by the batch, as the paper does.
""",
            """    The value is that of ``DKDLoss``. Confident logits keep a gradient here,
    and the teacher's own entropy can be left out of it.
""",
        )
    ],
    'skd_mmrazor.models.losses.teacher_gradient': [
        ('import warnings\n', ''),
        (
            'return _log_space_dkd(name, loss, entropy_grad)',
            'return LogSpaceDKDLoss(loss.tau, loss.alpha, loss.beta, loss.reduction,'
            ' loss.loss_weight, entropy_grad)',
        ),
    ],
    'tests.test_models.test_skd_distiller': [(r'ImageClassifier; its', r'ToyClassifier; its')],
}

# Exports of new modules: the file, the module, its name.
EXPORTS = [
    (
        'mmrazor/models/architectures/connectors/__init__.py',
        'attention_simplifier_connector',
        'AttentionSimplifierConnector',
    ),
    ('mmrazor/models/distillers/__init__.py', 'skd_distiller', 'SKDDistiller'),
    ('mmrazor/models/losses/__init__.py', 'log_space_dkd_loss', 'LogSpaceDKDLoss'),
    ('mmrazor/models/losses/__init__.py', 'log_space_kl_divergence', 'LogSpaceKLDivergence'),
]

# Lists of methods: the line of RKD is repeated for SKD.
LISTS = ['model-index.yml', 'README.md', 'README_zh-CN.md', 'docs/en/get_started/model_zoo.md']

# mmrazor's configs that gain SKD, for those of the plugin whose base is its own.
BASES = {
    'kd_resnet34_resnet18_imagenet': 'kd/kd_logits_resnet34_resnet18_8xb32_in1k',
    'kd_resnet50_mobilenet-v2_imagenet': 'kd/kd_logits_resnet50_mobilenet-v2_8xb32_in1k',
    'dkd_resnet34_resnet18_imagenet': 'dkd/dkd_resnet34_resnet18_8xb32_in1k',
    'dist_resnet34_resnet18_imagenet': 'dist/dist_logits_resnet34_resnet18_8xb32_in1k',
    'wsld_resnet34_resnet18_imagenet': 'wsld/wsld_logits_resnet34_resnet18_8xb32_in1k',
}
# mmrazor has nothing to build these on.
NO_BASE = {
    'at_resnet34_resnet18_imagenet',
    'kd_deit-base_deit-tiny_imagenet',
    'dkd_deit-base_deit-tiny_imagenet',
    'dkd_resnet50_mobilenet-v2_imagenet',
}
