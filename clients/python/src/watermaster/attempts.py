"""Numbers of HTTP attempts, by the request's id, so that no key of a grant is used twice."""

from __future__ import annotations

import threading
from collections import OrderedDict

_REMEMBERED = 4_096


class Attempts:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._next: OrderedDict[str, int] = OrderedDict()

    def next(self, request_id: str, at_least: int = 0, *, remember: bool = True) -> int:
        """The next number of the id, at least at_least. Without remember an id that is unknown stays so."""
        with self.lock:
            known = self._next.get(request_id)
            number = max(known or 0, at_least)
            if remember or known is not None:
                self._next[request_id] = number + 1
                self._next.move_to_end(request_id)
                if len(self._next) > _REMEMBERED:
                    self._next.popitem(last=False)
            return number
