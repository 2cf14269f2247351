"""The scope ``skd_mmrazor``: the names of mmpretrain, then those of mmrazor.

mmengine writes the package of a base config (``_base_ = ['skd_mmrazor::…']``) into
its parts as their ``_scope_``, and imports this module when it meets that scope. It
has no classes of its own: the plugin's are in the registries of the other two.
"""

from collections import ChainMap

import mmpretrain.registry  # noqa: F401
import mmrazor.registry  # noqa: F401
from mmengine.registry import Registry, root

for _parent in [value for value in vars(root).values() if isinstance(value, Registry)]:
    _others = [_parent._children[s] for s in ('mmpretrain', 'mmrazor') if s in _parent._children]
    _registry = Registry(
        _parent.name,
        parent=_parent,
        scope='skd_mmrazor',
        locations=[name for other in _others for name in other._locations] or ['skd_mmrazor'],
    )
    _registry._module_dict = ChainMap(*(other._module_dict for other in _others))
