"""A source file of the plugin, rewritten for its place in mmrazor."""

import ast
import re
from collections.abc import Collection

HEADER = '# Copyright (c) OpenMMLab. All rights reserved.\n'


def replace_once(source: str, old: str, new: str, where: str) -> str:
    """Replaces a text that has to be there, once.

    Args:
        source (str): To be searched.
        old (str): What to look for.
        new (str): What to put there.
        where (str): The name of the source, for the message.

    Raises:
        ValueError: The text is missing, or there more than once.
    """
    if source.count(old) != 1:
        raise ValueError(f'{where}: found {source.count(old)} times, expected once:\n{old}')
    return source.replace(old, new)


def drop(source: str, names: Collection[str]) -> str:
    """Leaves functions out of a module.

    Args:
        source (str): The module.
        names (Collection[str]): The functions; those that it lacks are ignored.
    """
    lines = source.splitlines(keepends=True)
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            del lines[first - 1 : node.end_lineno]
    return ''.join(lines)


def take(source: str, names: Collection[str]) -> str:
    """Takes functions and constants out of a module.

    Args:
        source (str): The module.
        names (Collection[str]): All of them, in any order.

    Raises:
        ValueError: One is missing.
    """
    lines, found = source.splitlines(), {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        else:
            name = getattr(node, 'name', '')
        if name in names:
            decorators = getattr(node, 'decorator_list', [])
            first = min([node.lineno, *(d.lineno for d in decorators)])
            found[name] = '\n'.join(lines[first - 1 : node.end_lineno])
    if missing := set(names) - set(found):
        raise ValueError(f'{sorted(missing)} are missing.')
    return '\n\n\n'.join(found.values()) + '\n'


def move_imports(source: str, old: str, new: str, imports: dict[str, str]) -> str:
    """Rewrites imports of modules that have moved.

    Args:
        source (str): The module's source.
        old (str): Its dotted name before it moved.
        new (str): Its dotted name now.
        imports (dict[str, str]): New dotted names by old ones.

    Raises:
        KeyError: A relative import is of something that does not move.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            name = node.module or ''
            if node.level:
                name = '.'.join([*old.split('.')[: -node.level], *filter(None, [name])])
            if node.level or name in imports:
                written = 'from ' + '.' * node.level + (node.module or '') + ' import'
                # From the same package, as mmrazor does.
                moved = imports[name].replace(new.rpartition('.')[0] + '.', '.')
                source = source.replace(written, f'from {moved} import')
    return source


def to_old_python(source: str) -> str:
    """Makes a module readable by Python 3.7, and heads it as mmrazor does.

    Args:
        source (str): Its source, with or without a docstring.
    """
    source = source.replace(', strict=True)', ')')
    source = re.sub(r'# type: ignore\[[\w-]+\]', '# type: ignore', source)
    docstring = re.match(r'r?"""(.*?)"""\n', source, re.DOTALL)
    end = docstring.end() if docstring else 0
    future = 'from __future__ import annotations\n' if ' -> ' in source else ''
    return HEADER + source[:end] + future + source[end:]
