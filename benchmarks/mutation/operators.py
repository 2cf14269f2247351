"""The mutation operators: those of Cosmic Ray, and two of our own."""

from collections.abc import Iterator
from typing import Any

from cosmic_ray import plugins
from cosmic_ray.operators.operator import Operator
from parso import parse

# Cosmic Ray replaces each operator by all others. One of the same kind is harder to
# notice than one that fails at once, so these are taken; annotations (``|``) are left.
_REPLACED = (
    *('Add_Sub', 'Sub_Add', 'Mul_Div', 'Div_Mul', 'FloorDiv_Mul', 'Pow_Mul', 'BitAnd_BitOr'),
    *('Eq_NotEq', 'NotEq_Eq', 'Lt_LtE', 'Lt_GtE', 'LtE_Lt', 'LtE_Gt', 'Gt_GtE', 'Gt_LtE'),
    *('GtE_Gt', 'GtE_Lt', 'Is_IsNot', 'IsNot_Is', 'USub_UAdd', 'Delete_USub', 'Delete_Not'),
)
_OTHERS = (
    *('AddNot', 'ReplaceTrueWithFalse', 'ReplaceFalseWithTrue', 'ReplaceAndWithOr'),
    *('ReplaceOrWithAnd', 'ReplaceBreakWithContinue', 'ReplaceContinueWithBreak'),
    *('NumberReplacer', 'RemoveDecorator', 'ZeroIterationForLoop'),
)


class RemoveStatement(Operator):
    """Replaces a statement by ``pass``, and a returned or yielded value by None."""

    def mutation_positions(self, node: Any) -> Iterator[tuple]:
        """Statements, but docstrings, imports and declarations."""
        if node.type != 'simple_stmt':
            return
        statement = node.children[0]
        kinds = ('expr_stmt', 'atom_expr', 'del_stmt', 'raise_stmt', 'return_stmt', 'yield_expr')
        if statement.type in kinds and statement.get_code().strip() != 'return':
            yield statement.start_pos, statement.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Puts the other statement in its place."""
        statement = node.children[0]
        instead = {'return_stmt': 'return None', 'yield_expr': 'yield None'}
        node.children[0] = parse(instead.get(statement.type, 'pass')).children[0]
        node.children[0].get_first_leaf().prefix = statement.get_first_leaf().prefix
        return node

    @classmethod
    def examples(cls) -> tuple:
        """None."""
        return ()


class RemoveArgument(Operator):
    """Removes an argument of a call that is given by its name."""

    def mutation_positions(self, node: Any) -> Iterator[tuple]:
        """Arguments ``name=value``."""
        if node.type == 'argument' and node.children[1] == '=' and node.parent.type == 'arglist':
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Leaves what an empty mapping adds, which is nothing."""
        argument = parse('f(**{})').children[0].children[1].children[1]
        argument.get_first_leaf().prefix = node.get_first_leaf().prefix
        return argument

    @classmethod
    def examples(cls) -> tuple:
        """None."""
        return ()


def get_operators() -> dict[str, Operator]:
    """All operators by name."""
    names = [n for n in plugins.operator_names() if n.endswith(tuple(f'_{r}' for r in _REPLACED))]
    names += [f'core/{name}' for name in _OTHERS]
    found = {name.removeprefix('core/'): plugins.get_operator(name)() for name in names}
    return {**found, 'RemoveStatement': RemoveStatement(), 'RemoveArgument': RemoveArgument()}
