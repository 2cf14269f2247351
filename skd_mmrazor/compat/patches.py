"""Declares and makes all changes to other packages.

A change is declared beside the code that makes it, with its reason at the end of its
docstring, so that the table of ``python -m skd_mmrazor`` always agrees with the code.
"""

import builtins
import functools
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_UNBOUND = (staticmethod, classmethod)


@dataclass
class Patch:
    """One change to other packages, for one reason.

    Args:
        targets (tuple[str, ...]): Dotted names of what is changed.
        change (Callable): Of a replacement, makes the new attribute from the old
            one; of a wrapper, is called with the old function and its arguments; of an
            extension, adds to the target and takes no argument.
        replaces (bool): Whether the targets are attributes that are replaced. Defaults to True.
        wraps (bool): Whether the change is a wrapper. Defaults to False.
        link (str): The upstream issue. Defaults to none.
        needed (Callable): Whether the installed packages need the change. Defaults to
            always.
        active (bool): Whether the change has been made. Defaults to False.
    """

    targets: tuple[str, ...]
    change: Callable
    replaces: bool = True
    wraps: bool = False
    link: str = ''
    needed: Callable[[], bool] = lambda: True
    active: bool = False

    @property
    def reason(self) -> str:
        """What happens without the change: what its docstring says after ``Why:``."""
        reason = (self.change.__doc__ or '').partition('Why: ')[2]
        return ' '.join(reason.split()).removesuffix('.')

    def apply(self) -> None:
        """Makes the change, once, where it is needed."""
        if self.active or not self.needed():
            return
        if self.replaces:
            for target in self.targets:
                owner_name, _, name = target.rpartition('.')
                owner = pkgutil.resolve_name(owner_name)
                # A module may lack a builtin, such as ``open``, until it is replaced.
                old = getattr(owner, name, getattr(builtins, name, None))
                new = _wrap(self.change, old) if self.wraps else self.change(old)
                # A class method is bound to its class already.
                kind = type(inspect.getattr_static(owner, name, None))
                setattr(owner, name, staticmethod(new) if kind in _UNBOUND else new)
        else:
            self.change()
        self.active = True


def _wrap(change: Callable, original: Any) -> Callable:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return change(original, *args, **kwargs)

    return wrapper


class Patches(list[Patch]):
    """Changes in the order in which they are made."""

    def replacing(self, *targets: str, **about: Any) -> Callable[[Callable], Callable]:
        """Declares a function that makes a new attribute from the old one.

        Args:
            *targets (str): Dotted names of the attributes.
            **about: ``link`` and ``needed`` of :class:`Patch`.

        Returns:
            Callable: A decorator that leaves the function as it is.
        """

        def declare(change: Callable) -> Callable:
            self.append(Patch(targets, change, **about))
            return change

        return declare

    def wrapping(self, *targets: str, **about: Any) -> Callable[[Callable], Callable]:
        """Declares a function that is called in the place of others.

        Its first argument is the function that it replaces. The others are those of the call.

        Args:
            *targets (str): Dotted names of the functions.
            **about: ``link`` and ``needed`` of :class:`Patch`.

        Returns:
            Callable: A decorator that leaves the function as it is.
        """
        return self.replacing(*targets, wraps=True, **about)

    def adding_to(self, *targets: str, **about: Any) -> Callable[[Callable], Callable]:
        """Declares a function that adds to collections, such as a registry.

        Args:
            *targets (str): The collections, for the table.
            **about: ``link`` and ``needed`` of :class:`Patch`.

        Returns:
            Callable: A decorator that leaves the function as it is.
        """
        return self.replacing(*targets, replaces=False, **about)

    def apply(self) -> None:
        """Makes all changes that are needed and have not been made."""
        for patch in self:
            patch.apply()


repairs = Patches()
safeguards = Patches()
