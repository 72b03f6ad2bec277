"""A limit of this process for while the service is away: a sliding minute."""

from __future__ import annotations

import threading
from collections import deque

from .settings import Local

_MINUTE = 60.0


class Window:
    """What went within the last minute: requests, and tokens as they were estimated."""

    def __init__(self, limit: Local) -> None:
        self.limit = limit
        self.lock = threading.Lock()
        self._gone: deque[tuple[float, int]] = deque()  # when, tokens; oldest first
        self._tokens = 0

    def take(self, now: float, tokens: int) -> float:
        """Lets a call go if it fits: 0. Else the seconds until it might; infinite if it never does."""
        most, limit = self.limit.requests, self.limit.tokens
        if limit is not None and tokens > limit:
            return float("inf")
        with self.lock:
            while self._gone and self._gone[0][0] <= now - _MINUTE:
                self._tokens -= self._gone.popleft()[1]
            requests, used = len(self._gone) + 1, self._tokens + tokens
            if (most is None or requests <= most) and (limit is None or used <= limit):
                self._gone.append((now, tokens))
                self._tokens += tokens
                return 0.0
            for at, freed in self._gone:
                requests, used = requests - 1, used - freed
                if (most is None or requests <= most) and (limit is None or used <= limit):
                    return max(at + _MINUTE - now, 1e-3)
        return _MINUTE
