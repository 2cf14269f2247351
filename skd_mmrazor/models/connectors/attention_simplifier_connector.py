"""The learning simplifier of SKD."""

from functools import partial

import torch
from mmrazor.models.architectures.connectors.base_connector import BaseConnector
from mmrazor.registry import MODELS
from torch import Tensor, nn

from ...utils import expect, is_integer, is_number
from ...utils.parts import in_parts
from .attention import ClassAttention, SampleAttention
from .logit_checks import check_logits

_ATTENTION = dict(samples=SampleAttention, classes=ClassAttention)
_SOFTENINGS = ('log_softmax', 'scale')
# The values of the attention are clamped to this far below certainty, in nats, so that a
# class masked by a large negative number cannot dominate an average.
_MAX_GAP = 30.0


@MODELS.register_module()
class AttentionSimplifierConnector(BaseConnector):
    r"""Simplifies a teacher's logits by attention.

    `Student-friendly Knowledge Distillation
    <https://arxiv.org/abs/2305.10893>`_ (SKD) softens the teacher's logits
    :math:`z` by a temperature :math:`\tau` and simplifies them by an attention
    module, which is trained jointly with the student through the distillation
    loss. The paper's abstract says no more; the rest is this project's choice:

    .. math::

        y &= \log\mathrm{softmax}(s z / \tau) \\
        A &= \mathrm{softmax}(q(n)\, k(n)^\top / \sqrt{d}),
             \quad n = \mathrm{layernorm}(y) \\
        \hat z &= s z + \tau \lambda\, (A\, y - y)

    A loss that divides :math:`\hat z` by :math:`\tau` sees the distribution
    :math:`\mathrm{softmax}((1 - \lambda)\, y + \lambda\, A\, y)`: nothing is
    softened twice. With :math:`s = 1` and :math:`\lambda = 0` the logits are
    returned unchanged.

    **Softening.** The factor :math:`s` grows linearly from ``start_factor`` to 1
    over the first ``warmup_iters`` training steps: the target is softer while the
    student knows little. ``num_steps``, a buffer that is saved with the weights as
    BatchNorm's ``num_batches_tracked`` is, counts the steps: a backward pass that
    reaches the simplifier counts as one, however many records were simplified
    before it. With gradient accumulation each mini-batch therefore counts as a step.
    In evaluation mode :math:`s` is 1 and nothing is counted.

    **Bounds.** Joint training can collapse the target to an uninformative one.
    Therefore the values of the attention are :math:`y` itself and
    :math:`|\lambda|` never exceeds ``max_lam``: whatever the parameters are,
    :math:`y` keeps a weight of at least ``1 - max_lam``. In the average a
    log-probability is at least -30 nats, and with ``softening='scale'`` a logit at most
    30 nats below the top class, so that a masked class (with a logit of -1e9, say)
    cannot dominate it.

    **Tokens** are the samples of the batch (a target is mixed with those of samples
    that the teacher finds similar) or the classes (the log-probability of a class is
    mixed with those of other classes of the same sample, so that a target does not
    depend on the batch). In dense logits each location is a sample and attends
    within its own image: to each location where there are at most 64, else to 64
    means of consecutive locations, so that time and memory stay linear in the
    locations.

    It is a connector like any other: see ``docs/add_skd.md`` for its use in a
    stock ``ConfigurableDistiller``.

    Args:
        num_classes (int): Number of classes :math:`C`. :class:`SKDDistiller`
            reads it from the teacher.
        tau (float): Temperature :math:`\tau`. :class:`SKDDistiller` reads it
            from the loss. Defaults to 1.0.
        attend_over (str): ``'samples'`` or ``'classes'``. Defaults to
            ``'samples'``.
        embed_dims (int): Width of queries and keys, over all heads. Defaults
            to 64.
        num_heads (int): Number of attention heads. Defaults to 1.
        max_lam (float): The bound on :math:`|\lambda|`, in [0, 1). Defaults to
            0.1.
        learn_lam (bool): Whether :math:`\lambda` is learned, from 0 and within
            the bound; otherwise it is ``max_lam`` throughout. A negative
            :math:`\lambda` moves a target away from the average, which sharpens
            it. Defaults to True.
        softening (str): ``'log_softmax'``, or ``'scale'`` for
            :math:`y = s z / \tau`. Defaults to ``'log_softmax'``.
        start_factor (float): :math:`s` in the first step, in (0, 1]; 1 disables
            the schedule. Defaults to 0.25.
        warmup_iters (int): The number of steps after which :math:`s` is 1.
            Defaults to 1000.
        init_cfg (dict, optional): Initialization config. Defaults to None.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> simplifier = AttentionSimplifierConnector(num_classes=100, tau=4.0)
        >>> simplifier(torch.randn(64, 100)).shape
        torch.Size([64, 100])
    """

    def __init__(
        self,
        num_classes: int,
        tau: float = 1.0,
        attend_over: str = 'samples',
        embed_dims: int = 64,
        num_heads: int = 1,
        max_lam: float = 0.1,
        learn_lam: bool = True,
        softening: str = 'log_softmax',
        start_factor: float = 0.25,
        warmup_iters: int = 1000,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        name, tokens = type(self).__name__, tuple(_ATTENTION)
        positive = is_integer(num_heads, 1) and is_integer(embed_dims, 1)
        divides = positive and embed_dims % num_heads == 0
        in_range = is_number(max_lam) and 0 <= max_lam < 1
        starts = is_number(start_factor) and 0 < start_factor <= 1
        expect(is_integer(num_classes, 2), f'{name}: num_classes', num_classes, 'an integer > 1')
        expect(is_number(tau) and tau > 0, f'{name}: tau', tau, 'a number > 0')
        expect(attend_over in tokens, f'{name}: attend_over', attend_over, f'one of {tokens}')
        expect(divides, f'{name}: embed_dims', embed_dims, f'a multiple of num_heads={num_heads}')
        expect(in_range, f'{name}: max_lam', max_lam, 'a number in [0, 1)')
        expect(isinstance(learn_lam, bool), f'{name}: learn_lam', learn_lam, 'True or False')
        expect(softening in _SOFTENINGS, f'{name}: softening', softening, f'one of {_SOFTENINGS}')
        expect(starts, f'{name}: start_factor', start_factor, 'a number in (0, 1]')
        expect(is_integer(warmup_iters, 1), f'{name}: warmup_iters', warmup_iters, 'an integer > 0')
        self.num_classes = num_classes
        self.tau = float(tau)
        self.attend_over = attend_over
        self.max_lam = float(max_lam)
        self.softening = softening
        self.start_factor = float(start_factor)
        self.warmup_iters = warmup_iters

        self.attention = _ATTENTION[attend_over](num_classes, embed_dims, num_heads)
        # One element and not a scalar, which FSDP cannot shard.
        self.lam_logit = nn.Parameter(torch.zeros(1)) if learn_lam else None
        self.register_buffer('num_steps', torch.tensor(0))
        # num_steps as a Python int, and of which buffer and version.
        self._steps, self._counted = 0, (self.num_steps, -1)
        self._awaits_gradient = False
        self._is_checked = False

    @property
    def current_lam(self) -> Tensor:
        r""":math:`\lambda`, a scalar in [-max_lam, max_lam]."""
        return self.max_lam * self._get_share().squeeze()

    @property
    def current_factor(self) -> float:
        """:math:`s`, in [start_factor, 1]; 1 in evaluation mode."""
        if not self.training or self.start_factor == 1:
            return 1.0
        # Reading the buffer synchronises CUDA, so it is read only after other code wrote it.
        buffer, version = self._counted
        if buffer is not self.num_steps or version != buffer._version:
            self._steps = int(self.num_steps)
            self._counted = self.num_steps, self.num_steps._version
        share = min(1.0, self._steps / self.warmup_iters)
        return self.start_factor + (1 - self.start_factor) * share

    @torch.no_grad()
    def get_attention(self, logits: Tensor) -> Tensor:
        r"""The weights :math:`A` for given logits, averaged over the heads.

        Args:
            logits (Tensor): Teacher logits, (N, C).

        Returns:
            Tensor: (N, N) where tokens are samples, (N, C, C) where they are
            classes; rows sum to 1.
        """
        logits = logits.to(self.attention.q.weight.dtype)
        soft = self._soften(logits, self.current_factor)
        return self.attention.get_weights(soft, soft)

    def forward_train(self, feature: Tensor) -> Tensor:
        """Simplifies teacher logits.

        Args:
            feature (Tensor): Logits, (N, C) or dense (N, C, ...).

        Returns:
            Tensor: Simplified logits of the same shape, float32 (float64 where
            the parameters are).

        Raises:
            ValueError: In the first call: the parameters were cast to half precision, or
                the logits have another shape, are empty, or contain NaN or Inf.
        """
        if not self._is_checked:
            check_logits(self, feature)
            self._is_checked = True
        # Half precision would round away the small differences that λ makes.
        with torch.autocast(feature.device.type, enabled=False):
            logits = feature.to(self.attention.q.weight.dtype)
            factor = self.current_factor
            if logits.dim() > 2:  # Images are independent, the samples of a batch are not.
                simplified = in_parts(partial(self._simplify_map, factor=factor), logits)
            else:
                simplified = self._simplify(logits, factor)
        if self.training and simplified.requires_grad:
            self._awaits_gradient = True
            simplified.register_hook(self._count_step)
        return simplified

    def _simplify_map(self, logits: Tensor, factor: float) -> Tensor:
        # The samples of a map are its locations: (N, locations, C).
        simplified = self._simplify(logits.flatten(2).mT, factor)
        # As the logits of a convolution are: mmrazor's losses of maps take views.
        return simplified.mT.reshape(logits.shape).contiguous()

    def _simplify(self, logits: Tensor, factor: float) -> Tensor:
        soft = self._soften(logits, factor)
        change = self.attention(soft) - soft
        # One product of numbers, since each operator takes time.
        weighted = self.tau * self.max_lam * self._get_share() * change
        return weighted.add_(logits, alpha=factor)

    def _get_share(self) -> Tensor:
        r""":math:`\lambda` as a share of ``max_lam``."""
        lam = self.lam_logit
        return self.attention.q.weight.new_ones(1) if lam is None else lam.tanh()

    def _count_step(self, gradient: Tensor) -> None:
        if self._awaits_gradient:
            self.num_steps += 1
            self._steps += 1
            self._counted = self.num_steps, self.num_steps._version
            self._awaits_gradient = False

    def _soften(self, logits: Tensor, factor: float) -> Tensor:
        soft = logits * (factor / self.tau)
        if self.softening == 'log_softmax':
            return soft.log_softmax(dim=-1).clamp(min=-_MAX_GAP)
        # All classes of a sample may be masked.
        top = soft.amax(dim=-1, keepdim=True).clamp(min=-_MAX_GAP)
        return soft.maximum(top - _MAX_GAP)
