"""Progress on stderr, where that is a terminal: a log file gets none."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, ProgressColumn, TimeElapsedColumn

Item = TypeVar('Item')


def make_columns() -> tuple[str | ProgressColumn, ...]:
    """The columns of all bars: rich's own, how many are done, and the time."""
    return *Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn()


def make_bar(**options: Any) -> Progress:
    """Makes a progress bar that hides when it is done.

    What is printed meanwhile appears above it. No thread redraws it, which would disturb
    measurements, and the state of which a forked process would inherit.

    Args:
        **options (Any): More for ``rich.progress.Progress``.
    """
    console = _stderr()
    return Progress(
        *make_columns(),
        **dict(auto_refresh=False, transient=True, disable=not console.is_terminal, **options),
        console=console,
        # Else rich would print the tables of ``command > file`` to the terminal.
        redirect_stdout=sys.stdout.isatty(),
    )


def track(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Iterates with a progress bar.

    Args:
        items (Iterable): What to iterate over.
        what (str): What is done with them, shown beside the bar.
        total (int, optional): How many there are, where ``len`` does not tell. Defaults to
            None.
    """
    with make_bar() as bar:
        yield from bar.track(items, total=total, description=what)


def busy(what: str) -> AbstractContextManager:
    """Shows that something is under way of which nobody knows how long it takes.

    Args:
        what (str): What is being done.
    """
    return _stderr().status(what)


def _stderr() -> Console:
    # In a notebook, rich would ask for widgets, or write the codes of a terminal.
    return Console(stderr=True, force_terminal=sys.stderr.isatty(), force_jupyter=False)
