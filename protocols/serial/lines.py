"""Lines of text with numbers in fields: any bytes in, verified lines without their check out. No sockets, no clock."""

from __future__ import annotations

from protocols.serial.checks import SUMS
from protocols.serial.parsing import COUNTERS, Burst
from protocols.serial.points import MAX_FRAME, Check, Options


class LineParser:
    """Lines with the right prefix, number of fields and check, without check; what their fields hold is the decoder's
    business.

    Without a prefix the first line is dropped unless `synchronised`: its head may be missing.
    """

    def __init__(self, options: Options, synchronised: bool) -> None:
        self._prefix, self._terminator, self._separator = (
            text.encode("ascii", "replace") for text in (options.prefix, options.terminator, options.separator)
        )
        self._separators = (options.fields or 1) - 1
        self._check = options.check if isinstance(options.check, Check) else None
        self._rest = b""
        self._whole = synchronised  # whether the line under way was seen from its beginning
        self.taken = 0
        self.counters = dict.fromkeys(COUNTERS, 0)

    def reset(self) -> None:
        self._rest = b""
        self._whole = False
        self.counters["resyncs"] += 1

    def push(self, data: bytes) -> Burst:
        buffer = self._rest + data
        end = self.taken - len(self._rest)
        self.taken += len(data)
        *lines, self._rest = buffer.split(self._terminator)
        burst = Burst([], [])
        for line in lines:
            end += len(line) + len(self._terminator)
            accepted = self._accepted(line)
            if accepted is not None:
                burst.frames.append(accepted)
                burst.ends.append(end)
        if len(self._rest) > MAX_FRAME:  # no line is so long: wait for the next terminator
            self.reset()
        return burst

    def _accepted(self, line: bytes) -> bytes | None:
        whole, self._whole = self._whole, True
        begin = line.rfind(self._prefix) if self._prefix else 0
        if begin > 0:  # behind the rest of a line that lost its end
            self.counters["truncated"] += 1
            line = line[begin:]
        elif begin < 0:
            self.counters["other_lines"] += whole
            return None
        if not whole and not self._prefix:
            return None
        if self._check is not None:
            checked = self._checked(line, self._check)
            if checked is None:
                self.counters["check_errors"] += 1
                return None
            line = checked
        if line.count(self._separator, len(self._prefix)) != self._separators:
            self.counters["malformed"] += 1
            return None
        self.counters["frames"] += 1
        return line

    def _checked(self, line: bytes, check: Check) -> bytes | None:
        """The line up to its check, where that is right."""
        text, mark, digits = line.rpartition(check.after.encode("ascii"))
        sum_ = SUMS[check.kind]
        wanted = sum_.of(text[check.start :]).to_bytes(sum_.size, check.order).hex().upper().encode()
        return text if mark and digits.rstrip(b"\r").upper() == wanted else None
