"""The scope ``skd_mmrazor``: its networks and data sets, then all of mmpretrain and mmrazor.

Names that others may want for classes of their own are in this scope alone, as
``type='skd_mmrazor.Digits'``. What a distillation is made of (distillers, connectors, losses,
hooks, loops) is registered in mmrazor. mmengine writes the package of a base config
(``_base_ = ['skd_mmrazor::…']``) into its parts as their ``_scope_``, and imports this module when
it meets that scope.
"""

from collections import ChainMap

import mmpretrain.registry  # noqa: F401
import mmrazor.registry  # noqa: F401
from mmengine.registry import Registry, root

_registries: dict[str, Registry] = {}
for _parent in [value for value in vars(root).values() if isinstance(value, Registry)]:
    _others = [_parent._children[s] for s in ('mmpretrain', 'mmrazor') if s in _parent._children]
    _registry = Registry(
        _parent.name,
        parent=_parent,
        scope='skd_mmrazor',
        locations=[name for other in _others for name in other._locations] or ['skd_mmrazor'],
    )
    # New names come into the first of the maps, by force where others have them too.
    _registry._module_dict = ChainMap({}, *(other._module_dict for other in _others))
    _registries[_parent.name] = _registry

DATASETS, MODELS = _registries['dataset'], _registries['model']
