"""The name ``mmcls``, which became mmpretrain.

Every classification config of mmrazor 1.0 says ``mmcls``: in ``_base_``, in
``cfg_path``, as the prefix of a type, as a scope; and so do two of its imports.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

from .patches import repairs

# Every name that mmcls 1.0.0rc0 to rc6 registered and mmpretrain 1.2 renamed, and the class of
# its samples. Its CorruptionError has no successor.
_RENAMED = {
    'PackClsInputs': 'PackInputs',
    'ToPIL': 'NumpyToPIL',
    'ToNumpy': 'PILToNumpy',
    'ClsVisualizer': 'UniversalVisualizer',
    'LinearReduction': 'LinearNeck',
    'ClsDataSample': 'DataSample',
}
_ISSUE = 'https://github.com/open-mmlab/mmrazor/issues/546'


@repairs.adding_to(
    'sys.meta_path',
    'mmengine.config.utils.MODULE2PACKAGE',
    'the registries of mmpretrain (scope `mmcls`)',
    link=_ISSUE,
    needed=lambda: find_spec('mmcls') is None,
)
def alias_mmcls() -> None:
    """Makes every use of the name ``mmcls`` mean mmpretrain.

    Why: `No module named 'mmcls'` from mmrazor's classification configs, in bases, `cfg_path`,
    types, scopes and imports. The name means mmpretrain.
    """
    sys.meta_path.append(_MMClsFinder())
    MODULE2PACKAGE['mmcls'] = 'mmpretrain'
    for registry in vars(importlib.import_module('mmpretrain.registry')).values():
        if isinstance(registry, Registry) and registry.scope == 'mmpretrain':
            alias = Registry(
                registry.name,
                build_func=registry.build_func,
                parent=registry.parent,
                scope='mmcls',
                locations=registry._locations,
            )
            alias._module_dict = registry._module_dict


@repairs.adding_to(
    'mmrazor.registry.MODELS (`ClsDataPreprocessor`)',
    'mmpretrain.registry (`PackClsInputs`, `ClsVisualizer`, `LinearReduction`)',
    link=_ISSUE,
)
def register_names_of_mmcls() -> None:
    """Registers classes of mmpretrain under the names that older configs use.

    mmcls gave the scope of its ``ClsDataPreprocessor``; mmpretrain leaves it out, so
    that an ``mmcls.ImageClassifier`` inside ``_scope_='mmrazor'`` cannot be built.
    The other classes were renamed.

    Why: mmrazor's BYOT config: `ClsDataPreprocessor is not in the mmrazor::model registry`,
    `PackClsInputs is not in the mmpretrain::transform registry`; configs dumped by mmcls:
    `ClsVisualizer is not in the mmpretrain::visualizer registry`.
    """
    # Not at the top: mmrazor.registry finds its parents once mmcls has an alias.
    from mmpretrain import datasets, models, registry, visualization  # noqa: F401
    from mmrazor.registry import MODELS

    names = [(MODELS, 'ClsDataPreprocessor', models.ClsDataPreprocessor)]
    for known in (registry.MODELS, registry.TRANSFORMS, registry.VISUALIZERS):
        found = known.module_dict
        names += [(known, old, found[new]) for old, new in _RENAMED.items() if new in found]
    for known, name, module in names:
        if name not in known.module_dict:  # It may be a class of the user's.
            known.register_module(name, module=module)


class _MMClsFinder(MetaPathFinder, Loader):
    """Imports ``mmcls.a.b`` with the contents of ``mmpretrain.a.b``.

    It creates new modules, which look each name up in mmpretrain's. mmpretrain's own
    modules do not change.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.split('.')[0] != 'mmcls':
            return None
        original = find_spec(_in_mmpretrain(fullname))
        if original is None:
            return None
        package = original.submodule_search_locations is not None
        return ModuleSpec(fullname, self, origin=original.origin, is_package=package)

    def create_module(self, spec: ModuleSpec) -> None:
        """Leaves the creation of the module to Python."""

    def exec_module(self, module: ModuleType) -> None:
        original = importlib.import_module(_in_mmpretrain(module.__name__))

        def look_up(name: str) -> Any:
            return getattr(original, _RENAMED.get(name, name))

        module.__getattr__ = look_up  # type: ignore[method-assign]


def _in_mmpretrain(name: str) -> str:
    return 'mmpretrain' + name[len('mmcls') :]
