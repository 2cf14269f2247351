"""Controls of the CIFAR-100 benchmark: methods that are another's config with some settings.

``dkd`` and ``kd-standardised`` are positive controls. Where one is not better than KD, the
networks, the data or the length of the training do not show what a better target is worth.
"""

from mmrazor.models.losses import KLDivergence
from torch import Tensor

_SIMPLIFIER = 'model.distiller.simplifier'
_KL = 'model.distiller.distill_losses.loss_kl'
# The method whose config it is, and the settings.
CONTROLS: dict[str, tuple[str, tuple[str, ...]]] = {
    # As published for KD: the base temperature 2, and ten times KD's weight.
    'kd-standardised': (
        'kd',
        (
            f'{_KL}.type=benchmarks.accuracy.controls.StandardisedKLDivergence',
            f'{_KL}.tau=2',
            f'{_KL}.loss_weight=9',
        ),
    ),
    # What a sceptic asks for.
    'skd_kd-half': ('skd_kd', (f'{_SIMPLIFIER}.max_lam=0.5',)),
    'skd_kd-entropy': ('skd_kd', ('model.distiller.entropy_grad=1.0',)),
    'skd_kd-classes': ('skd_kd', (f'{_SIMPLIFIER}.attend_over=classes',)),
    # The teacher's side alone is softer, and constantly: queries and keys of 0 give the mean of
    # the classes, and so a share of max_lam is taken off the logits.
    'skd_kd-soft': (
        'skd_kd',
        (
            f'{_SIMPLIFIER}.start_factor=1',
            f'{_SIMPLIFIER}.attend_over=classes',
            f'{_SIMPLIFIER}.max_lam=0.375',
            f'{_SIMPLIFIER}.learn_lam=False',
            f'{_SIMPLIFIER}.init_cfg.type=Constant',
            f'{_SIMPLIFIER}.init_cfg.layer=Linear',
            f'{_SIMPLIFIER}.init_cfg.val=0',
        ),
    ),
}


class StandardisedKLDivergence(KLDivergence):
    """KL divergence of logits that have a mean of 0 and a deviation of 1 in each sample.

    `Logit Standardization in Knowledge Distillation <https://arxiv.org/abs/2403.01427>`_.
    """

    def forward(self, preds_S: Tensor, preds_T: Tensor) -> Tensor:
        """Computes the loss of (N, C) logits of the student and the teacher."""
        return super().forward(*map(_standardise, (preds_S, preds_T)))


def _standardise(logits: Tensor) -> Tensor:
    return (logits - logits.mean(dim=1, keepdim=True)) / (logits.std(dim=1, keepdim=True) + 1e-7)
