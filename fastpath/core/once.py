"""Attributes that are computed when they are first read, without a lock."""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

Value = TypeVar("Value")


class once(Generic[Value]):  # noqa: N801, a decorator is called like a function
    """What ``functools.cached_property`` is from Python 3.12 on.

    Earlier it holds one lock for all instances of a class: threads wait for each other, and the child of a
    fork waits for ever for a thread that it does not have.  Two threads that are first compute the same.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...

    def __get__(self, instance: object | None, owner: type) -> Self | Value:
        """Return the value, which from now on is the instance's attribute."""
        if instance is None:
            return self
        return vars(instance).setdefault(self.name, self.compute(instance))  # type: ignore[no-any-return]
