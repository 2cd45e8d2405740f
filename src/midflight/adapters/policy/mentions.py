"""What a policy looks at, read from its syntax tree.

Cedar reaches attributes only by names written in the policy, so the names behind every `.` and
`has` bound what it can see, except where a record is used as a whole (`context == …`, `context` as
an element of a set). Both are found here; the bound may be too wide and is never too narrow.
Below: `cedarpy.pst`. Above: `parsing.py`.
"""

from __future__ import annotations

from typing import assert_never

from cedarpy import pst

from midflight.adapters.policy.schema import Mentions


def mentions(policy: pst.Template) -> Mentions:
    """The names that the conditions of a policy look at."""
    walk = _Walk()
    for clause in policy.clauses:
        walk.visit(clause.expr, accessed=False)
    return Mentions(names=frozenset(walk.names), whole=frozenset(walk.whole))


def attributes_of(policy: pst.Template, record: pst.Expr) -> frozenset[str]:
    """The names that conditions look at, or ask `has` for, directly on one record."""
    walk = _Walk(record)
    for clause in policy.clauses:
        walk.visit(clause.expr, accessed=False)
    return frozenset(walk.direct)


class _Walk:
    def __init__(self, record: pst.Expr | None = None) -> None:
        self.names: set[str] = set()
        self.whole: set[str] = set()
        self.direct: set[str] = set()
        self._record = record

    def visit(  # noqa: C901, PLR0912 -- one arm a node
        self, expr: pst.Expr, *, accessed: bool
    ) -> None:
        """Collect from `expr`; `accessed` says that only one attribute of it is looked at.

        Recursion is bounded: the syntax tree is at most 100 levels deep.
        """
        match expr:
            case pst.Var(name=name):
                if name == "context" and not accessed:
                    self.whole.add("context")
            case pst.GetAttr(base=base, attr=attr):
                self.names.add(attr)
                if base == self._record:
                    self.direct.add(attr)
                if not accessed and base == pst.Var(name="context"):
                    self.whole.add(attr)
                self.visit(base, accessed=True)
            case pst.HasAttr(base=base, attrs=attrs):
                self.names.update(attrs)
                if base == self._record:
                    self.direct.add(attrs[0])
                self.visit(base, accessed=True)
            case pst.UnaryOp(arg=arg):
                self.visit(arg, accessed=False)
            case pst.BinaryOp(left=left, right=right):
                self.visit(left, accessed=False)
                self.visit(right, accessed=False)
            case pst.Like(base=base):
                self.visit(base, accessed=False)
            case pst.Is(base=base, in_expr=parent):
                self.visit(base, accessed=False)
                if parent is not None:
                    self.visit(parent, accessed=False)
            case pst.IfThenElse(cond=cond, then_expr=then_expr, else_expr=else_expr):
                for part in (cond, then_expr, else_expr):
                    self.visit(part, accessed=False)
            case pst.Set(elements=elements):
                for part in elements:
                    self.visit(part, accessed=False)
            case pst.Record(fields=fields):
                for part in fields.values():
                    self.visit(part, accessed=False)
            case pst.Slot() | pst.BoolLit() | pst.LongLit() | pst.StringLit() | pst.EntityLit():
                pass
            case _:
                assert_never(expr)


__all__ = ["attributes_of", "mentions"]
