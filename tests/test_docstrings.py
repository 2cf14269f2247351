"""The defaults that docstrings name are those of the code."""

import ast
import importlib
import inspect
import pkgutil
import re

import skd_mmrazor

ARGUMENT = re.compile(r'^ {4}(\w+) \(.*\): (?:.*\n(?: {8}.*\n)*)', re.MULTILINE)
DEFAULT = re.compile(r'Defaults\s+to\s+`*([^`]+?)`*(?:\.\s|: )')


def get_callables(owner, module):
    """The classes and functions of a module, and their methods."""
    for member in vars(owner).values():
        is_own = getattr(member, '__module__', None) == module
        if is_own and (inspect.isroutine(member) or inspect.isclass(member)):
            yield member
            if inspect.isclass(member):
                yield from get_callables(member, module)


def get_defaults():
    """What an argument's default is by its docstring, and in the code."""
    for found in pkgutil.walk_packages(skd_mmrazor.__path__, 'skd_mmrazor.'):
        if re.search(r'\.configs\b|__main__$', found.name):
            continue
        for member in get_callables(importlib.import_module(found.name), found.name):
            for argument in ARGUMENT.finditer(f'{inspect.getdoc(member) or ""}\n'):
                if default := DEFAULT.search(argument[0]):
                    parameter = inspect.signature(member).parameters[argument[1]]
                    yield f'{member.__qualname__}: {parameter}', default[1], parameter.default


def test_arguments_have_the_defaults_that_are_documented():
    checked = 0
    for argument, documented, default in get_defaults():
        try:
            expected = ast.literal_eval(documented)
        except (SyntaxError, ValueError):
            continue  # In words.
        assert (default, type(default)) == (expected, type(expected)), argument
        checked += 1
    assert checked > 60
