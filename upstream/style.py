"""A source file of the plugin, rewritten as mmrazor writes its own."""

import ast
import io
import re
import shutil
import subprocess
import textwrap
import tokenize
from collections.abc import Collection, Iterable
from pathlib import Path

WIDTH = 79
HEADER = '# Copyright (c) OpenMMLab. All rights reserved.\n'
# What starts a line of its own in a docstring: a point of a list, an argument,
# an error.
ITEM = re.compile(r'- |\w+ \(.*?\): |\w+Error: |[A-Z]\w+:$')
# As mmrazor's .pre-commit-config.yaml calls them.
FORMATTERS = (
    ('docformatter', '--in-place', '--wrap-descriptions', '79'),
    ('isort', '--quiet'),
    ('yapf', '--in-place'),
)


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


def move_imports(source: str, module: str, imports: dict[str, str]) -> str:
    """Rewrites imports of modules that have moved.

    Args:
        source (str): The module's source.
        module (str): Its dotted name before it moved.
        imports (dict[str, str]): New dotted names by old ones.

    Raises:
        KeyError: A relative import is of something that does not move.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            old = node.module or ''
            if node.level:
                old = '.'.join([*module.split('.')[: -node.level], *filter(None, [old])])
            if node.level or old in imports:
                written = 'from ' + '.' * node.level + (node.module or '') + ' import'
                source = source.replace(written, f'from {imports[old]} import')
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
    future = 'from __future__ import annotations\n' if 'def ' in source else ''
    return HEADER + source[:end] + future + source[end:]


def reformat(paths: Iterable[Path], root: Path) -> None:
    """Runs mmrazor's own formatters, and then its linter, in its folder.

    Args:
        paths (Iterable[Path]): The files.
        root (Path): Has mmrazor's ``setup.cfg``.

    Raises:
        FileNotFoundError: A tool of ``requirements.txt`` is not installed.
        CalledProcessError: The linter found something.
    """
    files = [str(path.relative_to(root)) for path in paths]
    for command in (*FORMATTERS, ('flake8',)):
        if shutil.which(command[0]) is None:
            raise FileNotFoundError(f'{command[0]} is missing, see upstream/requirements.txt.')
        if command[0] == 'flake8':
            for path in paths:
                source = _wrap_docstrings(_wrap_comments(path.read_text()))
                path.write_text(_split_long_strings(source))
            subprocess.run(['yapf', '--in-place', *files], cwd=root, check=True)
        subprocess.run([*command, *files], cwd=root, check=True)


def _wrap_comments(source: str) -> str:
    lines: list[str] = []
    for block in re.split(r'((?:^ *# .*\n)+)', source, flags=re.MULTILINE):
        if re.match(r' *# ', block) and max(map(len, block.splitlines())) > WIDTH:
            indent = block[: block.index('#')] + '# '
            text = ' '.join(line.strip()[2:] for line in block.splitlines())
            block = textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
            block += '\n'
        lines.append(block)
    return ''.join(lines)


def _wrap_docstrings(source: str) -> str:
    """Fills the paragraphs of docstrings that reach too far."""
    lines = source.splitlines()
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        if token.type == tokenize.STRING and '"""' in token.string:
            block = slice(token.start[0] - 1, token.end[0])
            lines[block] = _wrap_paragraphs(lines[block])
    return '\n'.join(lines) + '\n'


def _wrap_paragraphs(lines: list[str]) -> list[str]:
    wrapped = []
    while lines:
        line = lines.pop(0)
        if len(line) <= WIDTH:
            wrapped.append(line)
            continue
        paragraph, indent = [line.strip()], _get_indent(line)
        hanging = indent + ' ' * 4 * bool(ITEM.match(line.strip()))
        if lines and lines[0].strip() not in ('', '"""') and not ITEM.match(lines[0].strip()):
            hanging = _get_indent(lines[0])
            while lines[0].strip() not in ('', '"""') and not ITEM.match(lines[0].strip()):
                paragraph.append(lines.pop(0).strip())
        wrapped += textwrap.wrap(
            ' '.join(paragraph),
            WIDTH,
            initial_indent=indent,
            subsequent_indent=hanging,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return wrapped


def _get_indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _split_long_strings(source: str) -> str:
    """Splits strings that reach too far, between words and in brackets."""
    lines = source.splitlines(keepends=True)
    depth = 0
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        if token.type == tokenize.OP:
            depth += (token.string in ')]}') - (token.string in '([{')
        (row, start), (_, end) = token.start, token.end
        if token.type != tokenize.STRING or end <= WIDTH or '"""' in token.string:
            continue
        if not depth and not lines[row - 1][end:].strip():
            lines[row - 1] = f'{lines[row - 1][:start]}({lines[row - 1][start:end]})\n'
            break
        prefix, quote = re.match(r'(\w*)([\'"])', token.string).groups()  # type: ignore[union-attr]
        spaces = [m.end() for m in re.finditer(' ', token.string) if _outside(token.string, m)]
        fitting = [i for i in spaces if start + i + 1 <= WIDTH]
        if fitting:
            parts = token.string[: fitting[-1]] + quote, prefix + quote + token.string[fitting[-1] :]
            line, gap = lines[row - 1], '\n' + ' ' * start
            lines[row - 1] = line[:start] + gap.join(map(_simplify, parts)) + line[end:]
    result = ''.join(lines)
    return result if result == source else _split_long_strings(result)


def _simplify(string: str) -> str:
    """Leaves out an ``f`` that has become idle, and double quotes that have."""
    prefix, quote, text = re.fullmatch(r'(\w*)([\'"])(.*)\2', string).groups()  # type: ignore[union-attr]
    if '{' not in text:
        prefix = prefix.replace('f', '')
    return f'{prefix}{quote}{text}{quote}' if "'" in text else f"{prefix}'{text}'"


def _outside(string: str, space: re.Match) -> bool:
    """Whether a space is outside the braces of an f-string."""
    before = string[: space.start()]
    return before.count('{') == before.count('}')
