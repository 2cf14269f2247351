"""mmpretrain's wrappers of timm and Hugging Face classifiers, inside an algorithm.

By themselves they remove the prefix ``model.`` from their weights when they save, and
add it when they load. Inside another module torch ignores the renamed weights on
saving, so the prefix stays, and loading adds it a second time.
"""

from collections.abc import Callable
from typing import Any

from .patches import repairs


@repairs.wrapping(
    'mmpretrain.models.TimmClassifier._add_state_dict_prefix',
    'mmpretrain.models.HuggingFaceClassifier._add_state_dict_prefix',
)
def add_missing_prefix(original: Callable, state_dict: dict, prefix: str, *args: Any) -> None:
    """Adds the prefix, unless the checkpoint was saved with it.

    Why: a student or teacher of timm or Hugging Face does not load its own checkpoint: resumed or
    tested, it is random.
    """
    own = [name.startswith(f'{prefix}model.') for name in state_dict if name.startswith(prefix)]
    if not own or not all(own):
        original(state_dict, prefix, *args)
