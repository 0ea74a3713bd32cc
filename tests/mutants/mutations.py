"""Every fault of a few common kinds that a module's source could have, as edits of its text.

A comparison, an arithmetic or Boolean operation is another one, a constant is off by one, a condition is
negated, a statement or what a function returns is left out, two arguments change places.  What no test
could be asked to notice is left alone: docstrings, annotations, the text of messages.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}

_OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}

#: Functions whose arguments may change places.
_SYMMETRIC = {
    "array_equal",
    "gcd",
    "hypot",
    "lcm",
    "logical_and",
    "logical_or",
    "max",
    "maximum",
    "min",
    "minimum",
    "result_type",
    "Max",
    "Min",
}

#: Fields of a node that say nothing about what is computed.
_ANNOTATIONS = frozenset({"annotation", "returns", "type_comment", "type_params"})


@dataclass(frozen=True, order=True, kw_only=True)
class Mutation:
    """One edit.

    Attributes
    ----------
    line : int
        Where, from 1.
    start, end : int
        The bytes of the source that are replaced.
    before, after : str
        What stands there, and what is planted.
    function : str
        The qualified name of the function that holds it, as Python tells, its defaults included; empty at a
        module's or class's level.
    block : int
        The line of the first statement of the innermost block that holds it, 0 for a function's own.
    """

    line: int
    start: int
    end: int
    before: str
    after: str
    function: str
    block: int = 0

    def planted(self, source: str) -> str:
        """Return the source with the edit made."""
        text = source.encode()
        return (text[: self.start] + self.after.encode() + text[self.end :]).decode()


def mutations(source: str) -> list[Mutation]:
    """Return all edits of a source, in its order; each compiles."""
    return sorted(_Finder(source).found())


class _Finder:
    def __init__(self, source: str) -> None:
        self._tree = ast.parse(source)
        self._text = source.encode()
        lengths = [len(line) for line in self._text.splitlines(keepends=True)]
        self._starts = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
        self._block = 0

    def found(self) -> Iterator[Mutation]:
        yield from self._inside(self._tree, ())

    def _inside(self, node: ast.AST, names: tuple[str, ...]) -> Iterator[Mutation]:
        for field, value in ast.iter_fields(node):
            if field in _ANNOTATIONS:
                continue
            outer = self._block
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self._block = value[0].lineno
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self._at(child, names)
            self._block = outer

    def _at(self, node: ast.AST, names: tuple[str, ...]) -> Iterator[Mutation]:
        # Positions inside f-strings are not those of the file before Python 3.12; a message is prose.
        if isinstance(node, (ast.JoinedStr, ast.Import, ast.ImportFrom)) or _is_docstring(node):
            return
        if isinstance(node, ast.Raise):
            yield self._edit(node, "pass", names)
            return
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return
        for other in _others(node):
            yield self._edit(node, other, names)
        if isinstance(node, (ast.If, ast.While)) and not isinstance(
            node.test, (ast.Compare, ast.UnaryOp, ast.Constant)
        ):
            yield self._edit(node.test, f"not ({ast.unparse(node.test)})", names)
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            name = node.name if isinstance(node, ast.FunctionDef) else "<lambda>"
            inner = (*names, name, "<locals>")
            body = node.body if isinstance(node.body, list) else [node.body]
            defaults = (*node.args.defaults, *filter(None, node.args.kw_defaults))
            outer, self._block = self._block, 0
            for child in (*defaults, *body):
                yield from self._at(child, inner)
            self._block = outer
            return
        if isinstance(node, ast.ClassDef):
            for child in node.body:
                yield from self._at(child, (*names, node.name))
            return
        yield from self._inside(node, names)

    def _edit(self, node: ast.AST, after: str, names: tuple[str, ...]) -> Mutation:
        assert isinstance(node, (ast.expr, ast.stmt))
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        inner = "<locals>" in names
        last = max((i for i, name in enumerate(names) if name == "<locals>"), default=0)
        return Mutation(
            line=node.lineno,
            start=start,
            end=end,
            before=self._text[start:end].decode(),
            after=f"({after})" if isinstance(node, ast.expr) else after,
            function=".".join(names[:last]) if inner else "",
            block=self._block if inner else 0,
        )


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _others(node: ast.AST) -> Iterator[str]:
    """Yield what could stand in place of an expression or a statement."""
    match node:
        case ast.Compare(ops=operators):
            for i, operator in enumerate(operators):
                yield _changed(
                    node, lambda n, i=i, o=operator: n.ops.__setitem__(i, _COMPARISONS[type(o)]())
                )
        case ast.BinOp(op=operator) if type(operator) in _OPERATIONS:
            if not isinstance(node.left, (ast.Constant, ast.JoinedStr)) or not isinstance(
                getattr(node.left, "value", 0), str
            ):
                yield _changed(node, lambda n: setattr(n, "op", _OPERATIONS[type(n.op)]()))
        case ast.BoolOp():
            yield _changed(
                node,
                lambda n: setattr(n, "op", ast.Or() if isinstance(n.op, ast.And) else ast.And()),
            )
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield ast.unparse(node.operand)
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int() | float() as value):
            for other in dict.fromkeys((value + 1, value - 1)):
                if other != value:
                    yield repr(other)
        case ast.IfExp():
            yield _changed(node, _negated)
        case ast.Call(func=function, args=[_, _, *_] as arguments) if (
            ast.unparse(function).rpartition(".")[2] not in _SYMMETRIC
        ):
            for i in range(len(arguments) - 1):
                one, two = arguments[i : i + 2]
                if isinstance(one, ast.Starred) or isinstance(two, ast.Starred):
                    continue
                if ast.dump(one) != ast.dump(two):
                    yield _changed(node, lambda n, i=i: _swapped(n.args, i))
        case ast.Return(value=ast.expr()):
            yield "return None"
        case ast.Expr() | ast.AugAssign() | ast.Assert():
            yield "pass"
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            yield "pass"
        case ast.Assign(targets=[ast.Name(id=name)]) if any(
            isinstance(other, ast.Name) and other.id == name for other in ast.walk(node.value)
        ):
            yield "pass"
        case ast.Break():
            yield "continue"
        case ast.Continue():
            yield "break"


def _changed(node: ast.expr, change: Callable[..., object]) -> str:
    other = copy.deepcopy(node)
    change(other)
    return ast.unparse(other)


def _negated(node: ast.IfExp) -> None:
    node.test = ast.UnaryOp(ast.Not(), node.test)


def _swapped(arguments: list[ast.expr], i: int) -> None:
    arguments[i], arguments[i + 1] = arguments[i + 1], arguments[i]
