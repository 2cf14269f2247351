"""mmrazor's DeiT on mmpretrain's transformers.

Its config builds on one that mmpretrain renamed, and its head takes three outputs
of the distilled transformer, of which mmpretrain kept two.
"""

import functools
import importlib
from typing import Any

_RENAMED = {'deit/deit-base_pt-16xb64_in1k.py': 'deit/deit-base_16xb64_in1k.py'}


@functools.cache  # Once, however often it is called.
def adapt_deit() -> None:
    """Finds the config under its new name, and gives the head what it takes.

    Does nothing where mmpretrain is mmcls of that time.
    """
    # Not at the top: mmrazor.models can be imported once its quantization is off.
    from mmrazor.models.architectures.heads.deit_head import DeiTClsHead

    for holder in ('mmengine.config.config', 'mmengine.hub.hub'):
        module: Any = importlib.import_module(holder)
        module._get_package_and_cfg_path = _with_new_name(module._get_package_and_cfg_path)
    DeiTClsHead.pre_logits = _of_two_tokens(DeiTClsHead.pre_logits)


def _with_new_name(original: Any) -> Any:
    @functools.wraps(original)
    def get_package_and_cfg_path(cfg_path: str) -> tuple[str, str]:
        package, path = original(cfg_path)
        return package, _RENAMED.get(path, path) if package == 'mmpretrain' else path

    return get_package_and_cfg_path


def _of_two_tokens(original: Any) -> Any:
    @functools.wraps(original)
    def pre_logits(self: Any, feats: Any) -> Any:
        tokens = feats[-1]
        # The patch token, which used to be the first, was never read.
        return original(self, [(None, *tokens)] if len(tokens) == 2 else feats)

    return pre_logits
