"""The simplifier in each of its forms, for ten classes, in float64."""

from itertools import product

from skd_mmrazor.models import AttentionSimplifierConnector

FORMS = list(product(('samples', 'classes'), (1, 4), ('log_softmax', 'scale')))


def build(attend_over='samples', num_heads=1, softening='log_softmax', **kwargs):
    arguments = dict(num_classes=10, tau=4.0, embed_dims=16, start_factor=1)
    arguments.update(kwargs)
    return AttentionSimplifierConnector(
        attend_over=attend_over, num_heads=num_heads, softening=softening, **arguments
    ).double()
