"""Two serial ports joined by a crossed cable: what is written to one is read from the other."""

from __future__ import annotations

import os
import select
import threading
import tty


class CrossedLine:
    """`ours` and `theirs` are paths of pseudo terminals; both stay while programs come and go."""

    def __init__(self) -> None:
        self._masters, self._slaves = [], []
        for _ in range(2):
            master, slave = os.openpty()
            tty.setraw(slave)
            self._masters.append(master)
            self._slaves.append(slave)
        self.ours, self.theirs = (os.ttyname(slave) for slave in self._slaves)
        self._wake, self._over = os.pipe()
        self._thread = threading.Thread(target=self._carry, name="crossed line")

    def __enter__(self) -> CrossedLine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._over)
        self._thread.join()
        for descriptor in (*self._masters, *self._slaves, self._wake):
            os.close(descriptor)

    def _carry(self) -> None:
        one, other = self._masters
        while True:
            ready, _, _ = select.select([one, other, self._wake], [], [])
            if self._wake in ready:
                return
            for descriptor in ready:
                os.write(other if descriptor == one else one, os.read(descriptor, 4096))
