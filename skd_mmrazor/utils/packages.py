"""Whether the packages are installed whose classes a config names."""

import inspect
import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.runner import Runner

from .checks import expect


def expect_packages(cfg: Config) -> None:
    """Expects OpenMMLab's packages, where the runner is given classes or models of theirs.

    Without this mmengine warns, and then takes a class of the same name from another
    package, or says that there is none; for a ``cfg_path`` it runs ``pip install``.

    Args:
        cfg (Config): What a runner is built from. Other variables in it are left alone.

    Raises:
        ValueError: One is not installed.
    """
    parts = cfg.to_dict()  # Of a Python-style config: names in the place of classes.
    for name in filter(parts.__contains__, inspect.signature(Runner).parameters):
        for key, value in _find_names(name, parts[name]):
            package = re.split(r'\.|::', value)[0]
            known = (
                package not in MODULE2PACKAGE
                or getattr(find_spec(package), 'origin', None) is not None
            )
            wheel = MODULE2PACKAGE.get(package)
            expect(known, key, value, f'{package} to be installed (pip install {wheel})')


def _find_names(key: str, part: Any) -> Iterator[tuple[str, str]]:
    """Types, scopes and external configs below a key."""
    if isinstance(part, dict):
        for name, value in part.items():
            yield from _find_names(f'{key}.{name}', value)
    elif isinstance(part, (list, tuple)):
        for index, value in enumerate(part):
            yield from _find_names(f'{key}.{index}', value)
    elif isinstance(part, str) and re.search(r'(^|\.)(type|_scope_|default_scope|cfg_path)$', key):
        yield key, part
