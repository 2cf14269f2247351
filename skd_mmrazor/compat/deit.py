"""mmrazor's DeiT on mmpretrain's transformers."""

import functools
import re
from collections.abc import Callable
from typing import Any

from .patches import repairs

# deit/deit-base_pt-16xb64_in1k.py became deit/deit-base_16xb64_in1k.py, and so the others.
_RENAMED = ('deit/', 'vision_transformer/')
_RENAMINGS = (('_[fp]t-', '_'), (r'-224\.py$', '.py'), (r'-384\.py$', '-384px.py'))


@repairs.replacing(
    'mmengine.config.config._get_package_and_cfg_path',
    'mmengine.hub.hub._get_package_and_cfg_path',
    reason="mmrazor's DeiT config builds on a file that mmpretrain renamed",
)
def find_renamed_config(original: Callable) -> Callable:
    """Finds a config of mmpretrain by the name that it had in mmcls."""

    @functools.wraps(original)
    def get_package_and_cfg_path(cfg_path: str) -> tuple[str, str]:
        package, path = original(cfg_path)
        if package == 'mmpretrain' and path.startswith(_RENAMED):
            for old, new in _RENAMINGS:
                path = re.sub(old, new, path)
        return package, path

    return get_package_and_cfg_path


@repairs.replacing(
    'mmrazor.models.architectures.heads.deit_head.DeiTClsHead.pre_logits',
    reason="mmrazor's DeiT head unpacks three tokens, mmpretrain's backbone gives two",
)
def take_two_tokens(original: Callable) -> Callable:
    """Puts a placeholder in front of the two tokens that the head reads."""

    @functools.wraps(original)
    def pre_logits(self: Any, feats: Any) -> Any:
        tokens = feats[-1]
        # The patch token, which used to be the first, was never read.
        return original(self, [(None, *tokens)] if len(tokens) == 2 else feats)

    return pre_logits
