"""Records of all levels of a pyramid: a dense head runs once for each."""

from typing import Any

from torch import Tensor, nn

from ...utils import expect
from .logits.heads import get_num_levels
from .logits.known_losses import ALL_LEVELS, get_side
from .logits.records import LogitRecords

# What tells the records of one recorder apart.
_KEYS = ('connector', 'data_idx')


def prepare_pyramids(distiller: Any, records: LogitRecords) -> None:
    """Averages the losses of pyramids over their levels, and notes which are of logits.

    Args:
        distiller (SKDDistiller): The distiller, whose losses are chosen and checked.
        records (LogitRecords): Its records.
    """
    for name, mapping in distiller.loss_forward_mappings.items():
        reads = records.judge(mapping)
        pyramids = [key for key in reads if mapping[key].get('record_idx') == ALL_LEVELS]
        if pyramids:
            distiller.distill_losses[name] = LevelsLoss(distiller.distill_losses[name])
        logits = dict(distiller.logit_entries.get(name, {}).values())
        for entry in [mapping[key] for key in pyramids if key in logits or reads[key]]:
            record = entry['recorder'], entry['from_student'], *map(entry.get, _KEYS)
            distiller.logit_pyramids[record] = get_num_levels(records.find(entry).head)


def get_levels(distiller: Any, recorder: str, from_student: bool, **kwargs: Any) -> list[Tensor]:
    """The records of all levels.

    Args:
        distiller (SKDDistiller): Holds the records of the step.
        recorder (str): The name of the recorder.
        from_student (bool): Whether it records the student.
        **kwargs: As for ``get_record`` of the distiller.

    Returns:
        list[Tensor]: Those of logits (A * N, C, H, W) each, of A anchors per location.

    Raises:
        ValueError: The module did not run for each level.
    """
    side = get_side(dict(from_student=from_student))
    found = getattr(distiller, f'{side}_recorders').get_recorder(recorder).data_buffer
    records = [dict(kwargs, record_idx=i) for i in range(len(found))]
    levels = [distiller.get_record(recorder, from_student, **record) for record in records]
    count = distiller.logit_pyramids.get((recorder, from_student, *map(kwargs.get, _KEYS)))
    if count is None:
        return levels
    key = f'distiller.{side}_recorders.{recorder}: records of a step'
    expected = f'{count}, of one module that computes the logits of all levels'
    expect(len(found) % count == 0, key, len(found), expected)
    kinds, classes = {type(level) for level in levels}, distiller.simplifier.num_classes
    expected = 'tensors: data_idx in the mapping chooses one of several outputs'
    expect(all(issubclass(kind, Tensor) for kind in kinds), key, kinds, expected)
    return [level.unflatten(1, (-1, classes)).flatten(0, 1) for level in levels]


class LevelsLoss(nn.Module):
    """A loss of maps averaged over all levels, which are weighted by their locations.

    Args:
        loss (nn.Module): The loss of one level.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, **records: Any) -> Any:
        """Computes the loss.

        Args:
            **records: As for the loss, with a list of maps for each argument of all levels.

        Returns:
            Tensor: The average.
        """
        pyramids = {key: levels for key, levels in records.items() if isinstance(levels, list)}
        losses, sizes = [], []
        for levels in zip(*pyramids.values(), strict=True):
            loss = self.loss(**{**records, **dict(zip(pyramids, levels, strict=True))})
            # As mmengine adds a list to the objective.
            losses.append(sum(x.mean() for x in loss) if isinstance(loss, list) else loss)
            # Of labels beside the maps nothing counts, nor of a level without locations.
            maps = [x.numel() // x.shape[1] for x in levels if x.dim() > 1]
            sizes.append(max([*maps, 1]))
        return sum(size / sum(sizes) * loss for size, loss in zip(sizes, losses, strict=True))


def get_loss(distiller: Any, name: str) -> nn.Module:
    """A loss of a distiller as the config has it, without a :class:`LevelsLoss` around it."""
    loss = distiller.distill_losses[name]
    return loss.loss if isinstance(loss, LevelsLoss) else loss
