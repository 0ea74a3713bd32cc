"""Objects that are changed and read from several threads, copied, and sent to other processes."""

import copy
import threading
from typing import Any, Self


class Locked:
    """Hold a lock for every call, and copy everything but the lock.

    A subclass holds ``_lock`` while it reads or changes what it keeps; the lock may be taken again by the
    thread that has it.  A copy, shallow or deep, and what is unpickled share nothing with the original.
    A fork copies the lock as it is: made while another thread is in a call, its object waits for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Return a copy of everything but the lock, as of one moment."""
        with self._lock:
            return copy.deepcopy({name: x for name, x in vars(self).items() if name != "_lock"})

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.RLock()

    def __copy__(self) -> Self:
        new = object.__new__(type(self))
        new.__setstate__(self.__getstate__())
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)
