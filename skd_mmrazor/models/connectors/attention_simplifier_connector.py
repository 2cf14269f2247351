"""The learning simplifier of SKD."""

import torch
import torch.nn.functional as F
from mmrazor.models.architectures.connectors.base_connector import BaseConnector
from mmrazor.registry import MODELS
from mmrazor.utils import RuntimeInfo
from torch import Tensor, nn

from ...utils import expect, is_integer, is_number
from ..utils.attention import attend, get_weights

# The score that a token starts with towards itself. Unlike tokens score near 0,
# so attention starts on a token's own kind: e^8 is about 3000.
_SELF_SCORE = 8.0


@MODELS.register_module()
class AttentionSimplifierConnector(BaseConnector):
    r"""Turns a teacher's logits into an easier target by attention.

    `Student-friendly Knowledge Distillation
    <https://arxiv.org/abs/2305.10893>`_ (SKD) softens the teacher's logits
    :math:`z` by a temperature :math:`\tau` and lets an attention module, trained
    jointly with the student through the distillation loss, simplify them
    further. The abstract fixes that much; the rest is this project's:

    .. math::

        y &= \log\mathrm{softmax}(s z / \tau) \\
        A &= \mathrm{softmax}(q(n)\, k(n)^\top / \sqrt{d}),
             \quad n = \mathrm{layernorm}(y) \\
        \hat y &= (1 - \lambda)\, y + \lambda\, A\, y \\
        \hat z &= s z + \tau\, (\hat y - y)

    A loss that divides :math:`\hat z` by :math:`\tau` sees
    :math:`\mathrm{softmax}(\hat y)`, so nothing is softened twice.

    The factor :math:`s` grows linearly from ``start_factor`` to 1 over the first
    ``warmup_iters`` iterations of a training: a student that knows little yet gets a
    softer target. They are read from mmengine's ``MessageHub``; where nothing is
    trained :math:`s` is 1.
    With :math:`s = 1` and :math:`\lambda = 0` the teacher's logits come back as
    they went in.

    Joint training can make a target easy by making it empty. Therefore the
    values of the attention are :math:`y` itself, :math:`A` averages them, and
    :math:`|\lambda|` never exceeds ``lam``: whatever the parameters are, the
    teacher's own :math:`y` keeps a weight of at least ``1 - lam``.

    Tokens are the samples of the batch (a sample's target is mixed with those
    that the teacher finds alike) or the classes (a class's log-probability is
    mixed with those of other classes of the same sample, so the result does not
    depend on the batch). In dense logits every location is a sample, and attends
    within its own image.

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
        lam (float): The bound on :math:`|\lambda|`, in [0, 1). Defaults to 0.1.
        learn_lam (bool): Whether :math:`\lambda` is learned, from 0 and within
            the bound; otherwise it is ``lam`` throughout. A negative
            :math:`\lambda` moves a target away from its neighbours' mean, which
            sharpens it. Defaults to True.
        softening (str): ``'log_softmax'``, or ``'scale'`` for
            :math:`y = s z / \tau`. Defaults to ``'log_softmax'``.
        start_factor (float): :math:`s` in the first iteration, in (0, 1]; 1 turns
            the schedule off. Defaults to 0.25.
        warmup_iters (int): The iterations after which :math:`s` is 1; in a shorter
            training, all of them. Defaults to 1000.
        init_cfg (dict, optional): Initialization config. Defaults to None.

    Raises:
        ValueError: An argument is of another type or out of its range.

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
        lam: float = 0.1,
        learn_lam: bool = True,
        softening: str = 'log_softmax',
        start_factor: float = 0.25,
        warmup_iters: int = 1000,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)

        name = type(self).__name__
        for key, value, minimum in (
            ('num_classes', num_classes, 2),
            ('embed_dims', embed_dims, 1),
            ('num_heads', num_heads, 1),
            ('warmup_iters', warmup_iters, 1),
        ):
            valid = is_integer(value, minimum)
            expect(valid, f'{name}: {key}', value, f'an integer of at least {minimum}')
        multiple = embed_dims % num_heads == 0
        expect(multiple, f'{name}: embed_dims', embed_dims, f'a multiple of num_heads={num_heads}')
        expect(is_number(tau) and tau > 0, f'{name}: tau', tau, 'a positive number')
        expect(is_number(lam) and 0 <= lam < 1, f'{name}: lam', lam, 'a number in [0, 1)')
        expect(isinstance(learn_lam, bool), f'{name}: learn_lam', learn_lam, 'True or False')
        known = attend_over in ('samples', 'classes')
        expect(known, f'{name}: attend_over', attend_over, "'samples' or 'classes'")
        known = softening in ('log_softmax', 'scale')
        expect(known, f'{name}: softening', softening, "'log_softmax' or 'scale'")
        valid = is_number(start_factor) and 0 < start_factor <= 1
        expect(valid, f'{name}: start_factor', start_factor, 'a number in (0, 1]')
        known = init_cfg is None or isinstance(init_cfg, (dict, list))
        expect(known, f'{name}: init_cfg', init_cfg, 'a dict, or a list of dicts')
        self.num_classes = num_classes
        self.tau = float(tau)
        self.attend_over = attend_over
        self.num_heads = num_heads
        self.lam = float(lam)
        self.softening = softening
        self.start_factor = float(start_factor)
        self.warmup_iters = warmup_iters
        self._finite = False

        if attend_over == 'classes':
            # A class is told from others by an embedding, and from its other
            # appearances by its score.
            self.class_embedding = nn.Parameter(torch.empty(num_classes, embed_dims))
            self.score_embedding = nn.Parameter(torch.empty(embed_dims))
        in_dims = num_classes if attend_over == 'samples' else embed_dims
        self.query = nn.Linear(in_dims, embed_dims, bias=False)
        self.key = nn.Linear(in_dims, embed_dims, bias=False)
        # Of one element and not a scalar, which FSDP cannot shard.
        self.lam_logit = nn.Parameter(torch.zeros(1)) if learn_lam else None
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Starts queries and keys alike, so that tokens attend to their like."""
        if self.attend_over == 'classes':
            nn.init.normal_(self.class_embedding)
            nn.init.normal_(self.score_embedding)
        embed_dims, in_dims = self.query.weight.shape
        head_dims = embed_dims // self.num_heads
        # Of a token's squared norm, in_dims, this much reaches a head.
        kept = min(embed_dims, in_dims) / self.num_heads
        nn.init.orthogonal_(self.query.weight, gain=(_SELF_SCORE * head_dims**0.5 / kept) ** 0.5)
        with torch.no_grad():
            self.key.weight.copy_(self.query.weight)

    @property
    def current_lam(self) -> Tensor:
        r""":math:`\lambda`, a scalar in [-lam, lam]."""
        if self.lam_logit is None:
            return self.query.weight.new_full((), self.lam)
        return self.lam * self.lam_logit.tanh().squeeze()

    @property
    def current_factor(self) -> Tensor:
        """:math:`s`, a scalar in [start_factor, 1]."""
        training = RuntimeInfo.info()
        share = 1.0
        if 'max_iters' in training:
            share = min(training['iter'] / min(self.warmup_iters, training['max_iters']), 1.0)
        factor = self.start_factor + (1 - self.start_factor) * share
        return self.query.weight.new_full((), factor)

    @torch.no_grad()
    def get_attention(self, logits: Tensor) -> Tensor:
        r"""The weights :math:`A`, the mean over the heads, for a look at them.

        Args:
            logits (Tensor): Teacher logits, (N, C).

        Returns:
            Tensor: (N, N) where tokens are samples, (N, C, C) where they are
            classes; rows sum to 1.
        """
        query, key = self._project(self._get_tokens(self._soften(logits * self.current_factor)))
        return get_weights(query, key)

    def forward_train(self, feature: Tensor) -> Tensor:
        """Simplifies teacher logits.

        Args:
            feature (Tensor): Logits, (N, C) or dense (N, C, H, W).

        Returns:
            Tensor: Simplified logits of the same shape, float32 (float64 where
            the parameters are).

        Raises:
            TypeError: The parameters were cast to half precision.
            ValueError: The logits have another shape, or NaN or Inf in them.
        """
        self._check(feature)
        # Half precision would quantise the small differences that λ makes.
        with torch.autocast(feature.device.type, enabled=False):
            logits = feature.to(self.query.weight.dtype) * self.current_factor
            tokens = logits.unsqueeze(0) if logits.dim() == 2 else logits.flatten(2).transpose(1, 2)
            soft = self._soften(tokens)
            change = self._attend(soft) - soft
            # Of (N, C) logits, one group of (N, C); of dense ones, (N, H * W, C).
            change = change if logits.dim() == 2 else change.transpose(1, 2)
            change = change.reshape(logits.shape)
            return torch.addcmul(logits, self.current_lam, change, value=self.tau)

    def _soften(self, logits: Tensor) -> Tensor:
        soft = logits.to(self.query.weight.dtype) / self.tau
        return soft.log_softmax(dim=-1) if self.softening == 'log_softmax' else soft

    def _get_tokens(self, soft: Tensor) -> Tensor:
        """(..., N, C) softened logits as (..., N, C) or (..., N, C, embed_dims)."""
        tokens = F.layer_norm(soft, soft.shape[-1:])
        if self.attend_over == 'samples':
            return tokens
        tokens = tokens.unsqueeze(-1) * self.score_embedding + self.class_embedding
        return F.layer_norm(tokens, tokens.shape[-1:])

    def _project(self, tokens: Tensor) -> list[Tensor]:
        """Queries and keys, (..., num_heads, length, head_dims) each."""
        shape = (*tokens.shape[:-1], self.num_heads, -1)
        return [p(tokens).reshape(shape).transpose(-3, -2) for p in (self.query, self.key)]

    def _attend(self, soft: Tensor) -> Tensor:
        """Averages softened logits with the weights of the attention.

        The values are shared by the heads, and not projected.

        Args:
            soft (Tensor): (groups, samples, C). Samples attend within a group.

        Returns:
            Tensor: Same shape.
        """
        query, key = self._project(self._get_tokens(soft))
        values = soft if self.attend_over == 'samples' else soft.unsqueeze(-1)
        return attend(query, key, values).reshape(soft.shape)

    def _check(self, logits: Tensor) -> None:
        name = type(self).__name__
        if self.query.weight.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f'{name}: its parameters are {self.query.weight.dtype}, expected float32. '
                'Train with AmpOptimWrapper (--amp) instead of casting the model.'
            )
        if not isinstance(logits, Tensor):
            raise ValueError(
                f'{name}: the teacher logits are a {type(logits).__name__}, expected a Tensor. '
                'Give their recorder a data_idx, if the module puts out several.'
            )
        shape = tuple(logits.shape)
        if len(shape) not in (2, 4) or shape[1] != self.num_classes:
            raise ValueError(
                f'{name}: the teacher logits have shape {shape}, expected '
                f'(N, {self.num_classes}) or (N, {self.num_classes}, H, W).'
            )
        # A GPU has to be waited for, so it is asked until it said yes once: an unsound
        # checkpoint shows at the start. CheckInvalidLossHook names what comes later.
        on_cpu = logits.device.type == 'cpu'
        if self._finite and not on_cpu:
            return
        # The extremes are NaN where any value is, and cost less than all of isfinite.
        finite = bool(logits.amin().isfinite() & logits.amax().isfinite())
        self._finite = finite and not on_cpu
        if not finite:
            raise ValueError(
                f'{name}: the teacher logits of shape {shape} have NaN or Inf in them, expected '
                'finite numbers. Is the teacher checkpoint sound, and are its inputs?'
            )
