"""Declares and makes all changes to other packages.

A change is declared beside the code that makes it, with its reason, so that the table
of ``python -m skd_mmrazor`` always agrees with the code.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _always() -> bool:
    return True


@dataclass
class Patch:
    """One change to other packages, for one reason.

    Args:
        targets (tuple[str, ...]): Dotted names of what is changed.
        change (Callable): Of a replacement, makes the new attribute from the old
            one; of an extension, adds to the target and takes no argument.
        replaces (bool): Whether the targets are attributes that are replaced.
        reason (str): What happens without the change.
        link (str): The upstream issue. Defaults to none.
        needed (Callable): Whether the installed packages need the change. Defaults to
            always.
        active (bool): Whether the change has been made. Defaults to False.
    """

    targets: tuple[str, ...]
    change: Callable
    replaces: bool
    reason: str
    link: str = ''
    needed: Callable[[], bool] = _always
    active: bool = False

    def apply(self) -> None:
        """Makes the change, once, where it is needed."""
        if self.active or not self.needed():
            return
        if self.replaces:
            for target in self.targets:
                owner_name, _, name = target.rpartition('.')
                owner = pkgutil.resolve_name(owner_name)
                # A module may lack a builtin, such as ``open``, until it is replaced.
                setattr(owner, name, self.change(getattr(owner, name, None)))
        else:
            self.change()
        self.active = True


class Patches(list[Patch]):
    """Changes in the order in which they are made."""

    def replacing(self, *targets: str, **about: Any) -> Callable[[Callable], Callable]:
        """Declares a function that makes a new attribute from the old one.

        Args:
            *targets (str): Dotted names of the attributes.
            **about: ``reason``, ``link`` and ``needed`` of :class:`Patch`.

        Returns:
            Callable: A decorator that leaves the function as it is.
        """
        return self._declare(targets, True, about)

    def adding_to(self, *targets: str, **about: Any) -> Callable[[Callable], Callable]:
        """Declares a function that adds to collections, such as a registry.

        Args:
            *targets (str): The collections, for the table.
            **about: ``reason``, ``link`` and ``needed`` of :class:`Patch`.

        Returns:
            Callable: A decorator that leaves the function as it is.
        """
        return self._declare(targets, False, about)

    def _declare(
        self, targets: tuple[str, ...], replaces: bool, about: dict[str, Any]
    ) -> Callable[[Callable], Callable]:
        def declare(change: Callable) -> Callable:
            self.append(Patch(targets, change, replaces, **about))
            return change

        return declare

    def apply(self) -> None:
        """Makes all changes that are needed and have not been made."""
        for patch in self:
            patch.apply()


repairs = Patches()
safeguards = Patches()
