"""Time limits tested without a clock."""

from __future__ import annotations

import threading


class StandingClock:
    """Time stands still until a reward hangs; then what is waited for has passed."""

    def __init__(self):
        self.time, self.hangs = 0.0, threading.Event()

    def now(self):
        return self.time

    def wait(self, done, seconds):
        while not done.wait(0.002):
            if self.hangs.is_set():
                self.hangs.clear()
                self.time += seconds
                return False
        return True
