"""Expressions of a sweep file: names, numbers, texts, comparisons, arithmetic; no Python.

The library simpleeval evaluates them. What it may see is settled before: a dotted name becomes
one name, looked up among the keys of a configuration, and of functions there are a fixed few.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from flexsim.errors import SweepError, choices_text
from flexsim.sweep.keys import wrong_key
from flexsim.validation import value_text

if TYPE_CHECKING:
    from simpleeval import EvalWithCompoundTypes

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "max": max,
    "min": min,
    "round": round,
}
_CONSTANTS = {"true": True, "false": False, "none": None}
_ALLOWED = (
    ast.BoolOp | ast.BinOp | ast.UnaryOp | ast.Compare | ast.IfExp | ast.Tuple | ast.List
    | ast.Constant | ast.boolop | ast.unaryop | ast.cmpop | ast.expr_context
)  # fmt: skip
_OPERATORS = (
    ast.Add | ast.Sub | ast.Mult | ast.Div | ast.FloorDiv | ast.Mod | ast.Pow
)  # fmt: skip
_MOST_CHARACTERS = 2000
_MOST_KNOWN = 50_000


class NoValueError(Exception):
    """An expression has no value for one configuration; the message says why."""


@dataclass(frozen=True, eq=False)
class Expression:
    """A checked expression and the dotted names that it asks for."""

    where: str
    """The file, the key and the text, for messages."""
    text: str
    tree: ast.expr
    names: tuple[str, ...]
    known: dict[Any, Any] = field(default_factory=dict)
    """Values that were worked out before, by what the names stood for."""

    def value(self, lookup: Callable[[str], Any]) -> Any:
        """Return the value under ``lookup``, which gives the value of a name.

        Raise :class:`NoValueError` where it divides by zero or the like, and :class:`SweepError`
        where its parts do not go together.
        """
        given = tuple(map(lookup, self.names))
        key = (given, tuple(map(type, given)))  # 1, 1.0 and true are equal, but not the same
        try:
            if key not in self.known:
                self._remember(key)
            return self.known[key]
        except TypeError:  # a list has no hash
            return self._worked_out(given)

    def _remember(self, key: Any) -> None:
        if len(self.known) >= _MOST_KNOWN:
            self.known.clear()
        self.known[key] = self._worked_out(key[0])

    def _worked_out(self, given: tuple[Any, ...]) -> Any:
        names = dict(zip(self.names, given, strict=True))
        try:
            return _evaluated(self.text, self.tree, names)
        except ArithmeticError as problem:
            raise NoValueError(f"{self.text!r}: {problem}") from problem
        except Exception as problem:
            raise SweepError(f"{self.where}: {_told(problem)}{_with(names)}") from problem


def compiled(text: Any, where: str, known: Collection[str]) -> Expression:
    """Return an expression, all of whose names are ``known``.

    Raise :class:`SweepError` in one sentence for whatever else it holds.
    """
    if not isinstance(text, str) or not 0 < len(text) <= _MOST_CHARACTERS:
        raise SweepError(
            f"{where} = {value_text(text)}: it should be an expression in quotes such as"
            f" 'strategy.tensor * 2', of at most {_MOST_CHARACTERS} characters"
        )
    text = " ".join(text.split())
    where = f"{where} = {text!r}"
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        checker = _Checker(where, known)
        return Expression(where, text, checker.visit(tree), tuple(checker.names))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        reason = problem.msg if isinstance(problem, SyntaxError) else problem
        raise SweepError(f"{where}: this is no expression: {reason}") from problem


class _Checker(ast.NodeTransformer):
    """Puts one name in place of a dotted one, and refuses what an expression may not hold."""

    def __init__(self, where: str, known: Collection[str]) -> None:
        self.names: dict[str, None] = {}
        self._where, self._known = where, known

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if not isinstance(node, _ALLOWED | _OPERATORS) or isinstance(node, ast.Is | ast.IsNot):
            raise SweepError(
                f"{self._where}: {_shown(node)} is not allowed; an expression has names, numbers,"
                f" texts, comparisons, and, or, not, + - * / // % **, and the functions"
                f" {', '.join(FUNCTIONS)}"
            )
        return super().generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Look a plain name up: ``true``, ``false`` and ``none`` are values."""
        if node.id in _CONSTANTS:
            return ast.copy_location(ast.Constant(_CONSTANTS[node.id]), node)
        return self._named(node.id, node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Take ``strategy.tensor`` for one name."""
        parts, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            return self.generic_visit(node)
        return self._named(".".join([inner.id, *reversed(parts)]), node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Allow a call of one of the functions, without anything by name."""
        name = ast.unparse(node.func)
        if not isinstance(node.func, ast.Name) or name not in FUNCTIONS or node.keywords:
            raise SweepError(
                f"{self._where}: {ast.unparse(node)!r} cannot be called:"
                f" {choices_text(name, FUNCTIONS)}"
            )
        node.args = [self.visit(each) for each in node.args]
        return node

    def _named(self, name: str, node: ast.expr) -> ast.AST:
        if name not in self._known:
            raise SweepError(f"{self._where}: {name!r} is unknown: {wrong_key(name, self._known)}")
        self.names[name] = None
        return ast.copy_location(ast.Name(name, ast.Load()), node)


@cache
def _evaluator() -> EvalWithCompoundTypes:
    from simpleeval import EvalWithCompoundTypes

    return EvalWithCompoundTypes(functions=dict(FUNCTIONS))


def _evaluated(text: str, tree: ast.expr, names: Mapping[str, Any]) -> Any:
    evaluator = _evaluator()
    evaluator.names = names
    return evaluator.eval(text, previously_parsed=tree)


def _shown(node: ast.AST) -> str:
    return repr(ast.unparse(node)) if isinstance(node, ast.expr) else type(node).__name__


def _told(problem: Exception) -> str:
    text = str(problem).rstrip(".")
    return f"{text[:1].lower()}{text[1:]}" or type(problem).__name__


def _with(names: Mapping[str, Any]) -> str:
    missing = [name for name, value in names.items() if value is None]
    if missing:
        return f"; {missing[0]} has no value: give it in the scenario or the sweep"
    given = ", ".join(f"{name} = {value!r}" for name, value in names.items())
    return f" (with {given})" if given else ""
