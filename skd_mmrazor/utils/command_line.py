"""What the command line tools share: arguments, reading a config, and error messages."""

import argparse
import contextlib
import os
import pickle
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.runner import BaseLoop

from . import checks
from .checks import error_context, expect
from .packages import expect_packages


def run_tool(main: Callable[[], None]) -> None:
    """Runs a tool. A mistake of its user ends it with one sentence and exit code 1.

    With ``SKD_TRACEBACK=1`` in the environment a mistake shows its traceback, too.
    Errors during training, and defects of this project, always show it.

    Args:
        main (Callable): The tool, which takes no argument.

    Raises:
        SystemExit: The sentence, after a mistake.
    """
    try:
        main()
    except Exception as error:
        if os.environ.get('SKD_TRACEBACK') or not _is_mistake(error):
            raise
        name = os.path.basename(sys.argv[0])
        sys.exit(f'{name}: error: {_describe(error)} (SKD_TRACEBACK=1 shows the traceback)')


def _is_mistake(error: Exception) -> bool:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    innermost = frames[-1].f_code.co_filename
    if isinstance(error, OSError) or innermost == checks.__file__:
        return True
    for frame in frames:
        loop, name = frame.f_locals.get('self'), frame.f_code.co_name
        if not isinstance(loop, BaseLoop) or name == '__init__':
            continue
        # What hooks refuse before the first iteration, and metrics of a test, are mistakes.
        if name != 'run' or getattr(loop, 'iter', 0) > 0:
            return False  # Training or testing was under way.
    own = (Path(__file__).parents[1], Path(sys.argv[0]).resolve().parent)
    is_own = any(folder in Path(innermost).resolve().parents for folder in own)
    # What this project raises for its users is of these types. A wrong argument in a config
    # may pass through a constructor that we wrap, and then seems to be raised here.
    of_arguments = re.search(r'__init__\(\) (missing|got an unexpected)', str(error))
    kinds = (ValueError, ImportError, pickle.UnpicklingError)
    return not is_own or of_arguments is not None or isinstance(error, kinds)


def _describe(error: Exception) -> str:
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if 'Original Traceback' in message:  # Of a worker of a data loader.
        return textwrap.shorten(message.strip().splitlines()[-1], 1000)
    # Where mmengine imports what a config names, it says which module failed, but not why.
    reason, link = '', error.__cause__ or error.__context__
    while link is not None:
        if isinstance(link, ImportError):
            reason = f'. {textwrap.shorten(str(link), 300)}'
        link = link.__cause__ or link.__context__
    reason = '' if reason[2:] in message else reason
    if 'mmcv._ext' in message + reason:
        reason += '. mmcv-lite has no operators: uninstall it, and install mmcv==2.1.0'
    return textwrap.shorten(f'{type(error).__name__}: {message}', 1000) + reason


def make_parser(text: str) -> argparse.ArgumentParser:
    """Makes a parser whose ``--help`` shows the docstring of a tool, with its example.

    Args:
        text (str): The docstring.
    """
    raw = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=text, formatter_class=raw)


def read_config(path: str | os.PathLike, options: dict | None = None) -> Config:
    """Reads a config of a model.

    Args:
        path (str or PathLike): The file.
        options (dict, optional): Settings to override. Defaults to None.

    Raises:
        ValueError: It cannot be read, has no model, does not take the options, or names
            classes of a package that is not installed.
    """
    with error_context('config', str(path), 'a config file of mmengine'):
        cfg = Config.fromfile(path)
    if options:
        with error_context('--cfg-options', options, 'settings that the config can take'):
            cfg.merge_from_dict(options)
    # The safeguards know most configs of mmrazor 0.x, but not all.
    hint = (
        ', which mmrazor 0.x calls algorithm; see docs/mmrazor_0x.md' if 'algorithm' in cfg else ''
    )
    expect(isinstance(cfg.get('model'), dict), 'config', str(path), f'one with a model{hint}')
    expect_packages(cfg)
    return cfg


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--cfg-options``.

    Args:
        parser (ArgumentParser): The parser of the tool.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        type=setting,
        action=DictAction,
        help='override settings of the config by key=value pairs; lists as key="[a,b]" or key=a,b, '
        'nested ones as key="[(a,b),(c,d)]", without white space',
    )


def setting(text: str) -> str:
    """Checks an argument of the form ``KEY=VALUE``, for ``type`` of argparse.

    Args:
        text (str): The argument.

    Raises:
        ArgumentTypeError: It has another form.
    """
    key, separator, value = text.partition('=')
    with contextlib.suppress(AssertionError):  # Brackets that do not match.
        DictAction._parse_iterable(value)
        if key and separator:
            return text
    raise argparse.ArgumentTypeError(f'{text!r}, expected KEY=VALUE')


def output_file(*suffixes: str) -> Callable[[str], Path]:
    """Makes a ``type`` of argparse for a file to write.

    Args:
        *suffixes (str): How its name may end.
    """

    def check(text: str) -> Path:
        if Path(text).suffix not in suffixes or Path(text).is_dir():
            raise argparse.ArgumentTypeError(f'{text!r}, expected a file {" or ".join(suffixes)}')
        return Path(text)

    return check


def keep_existing(paths: Iterable[Path], force: bool) -> None:
    """Refuses to overwrite files.

    Args:
        paths (Iterable[Path]): Files to write.
        force (bool): Whether to write them all the same, by ``--force``.

    Raises:
        FileExistsError: One exists.
    """
    for path in paths:
        if path.exists() and not force:
            raise FileExistsError(f'{path} exists already, expected a new name or --force.')


def add_force(parser: argparse.ArgumentParser) -> None:
    """Adds ``--force``.

    Args:
        parser (ArgumentParser): The parser of the tool.
    """
    parser.add_argument('--force', action='store_true', help='write over files that exist')
