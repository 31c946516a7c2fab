"""OSCORE contexts that several centers hold at once: no number used twice, no replay taken by the other one.

Every answer carries a number of the center's own (RFC 8613, section 8.3), out of a block of 2^20 that belongs to one
running center alone; `block` comes from a counter that all of them share and never goes back. Two centers that open the
same request therefore never seal their answers with the same nonce. Replay windows are not shared: a context that
another center has heard since is `unsettled`, and asks for freshness (Echo, appendix B.1.2) before it takes anything.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from aiocoap import oscore

from gateway.spool.trouble import Trouble
from gateway.wire import state
from gateway.wire.credentials import WINDOW, SecurityContext

BLOCK = 1 << 20
BLOCKS = (1 << 40) // BLOCK  # a Partial IV has 40 bits
MARK = "shared.json"  # in the credentials folder: where the counter is kept


class Blocks:
    """The block in use; `spent` is called when a context has used half of it, and may bring a new `block` later."""

    def __init__(self, block: int, spent: Callable[[], None] = lambda: None) -> None:
        self.block = block
        self.spent = spent


class SharedContext(SecurityContext):
    """A gateway's context at one of several centers."""

    def __init__(self, folder: Path, blocks: Blocks) -> None:
        """Raises Trouble CG-4001, CG-4002, CG-4210."""
        super().__init__(folder, own=False)
        if self.sender_sequence_number > blocks.block * BLOCK:
            raise Trouble(
                "CG-4210",
                f"the numbers in {folder} are ahead of those that the centers share",
                f"{folder} 의 번호가 센터들이 공유하는 번호보다 앞서 있습니다",
                next_en="Make new credentials for this gateway",
                next_ko="이 게이트웨이의 자격 증명을 새로 만드십시오",
            )
        self._blocks = blocks
        self._block = blocks.block
        self.sender_sequence_number = self._block * BLOCK

    def post_seqnoincrease(self) -> None:
        used = self.sender_sequence_number - self._block * BLOCK
        if used == BLOCK // 2 and self._block == self._blocks.block:
            self._blocks.spent()
        if used >= BLOCK:
            if self._block == self._blocks.block:
                self.sender_sequence_number -= 1
                raise oscore.ContextUnavailable("the block of numbers is used up, and there is no other yet")
            self._block = self._blocks.block
            self.sender_sequence_number = self._block * BLOCK

    def unsettle(self) -> None:
        """Another center has heard this gateway: what is replayed is not known here. An Echo asked for earlier is
        worth nothing either, since it may have been recorded."""
        self.recipient_replay_window = oscore.ReplayWindow(WINDOW, lambda: None)
        self.echo_recovery = secrets.token_bytes(8)


def share(folder: Path, where: str) -> int:
    """Note that contexts in `folder` are numbered by a counter at `where`. Returns a lock that keeps centers out which
    count for themselves, held until the descriptor is closed. Raises Trouble CG-4001, CG-4004, CG-4209."""
    refuse_marked(folder, but=where)
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        directory = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(directory, fcntl.LOCK_EX)  # two that start at once
            if not (folder / MARK).exists():
                state.write(folder, MARK, {"numbers": where})
        finally:
            os.close(directory)
    except OSError as bad:
        used = isinstance(bad, BlockingIOError)
        raise Trouble(
            "CG-4004" if used else "CG-4001",
            f"another process uses the credentials in {folder}"
            if used
            else f"{folder} cannot be used ({bad.strerror})",
            f"다른 프로세스가 {folder} 의 자격 증명을 사용하고 있습니다"
            if used
            else f"{folder} 을(를) 사용할 수 없습니다 ({bad.strerror})",
            next_en="Stop the center that runs without this --sink"
            if used
            else "Check its owner, and that it is writable",
            next_ko="이 --sink 없이 실행 중인 센터를 중지하십시오" if used else "소유자와 쓰기 권한을 확인하십시오",
        ) from bad
    refuse_marked(folder, but=where)
    return lock


def refuse_marked(folder: Path, but: str = "") -> None:
    """Raises Trouble CG-4209: a center that counts for itself would use numbers that others have used."""
    try:
        where = str(json.loads((folder / MARK).read_text())["numbers"])
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        where = "?"
    if where == but:
        return
    raise Trouble(
        "CG-4209",
        f"the credentials in {folder} are shared by centers whose numbers are counted at {where}",
        f"{folder} 의 자격 증명은 {where} 에서 번호를 매기는 센터들이 함께 쓰고 있습니다",
        next_en="Start with that --sink, or make new credentials for this center",
        next_ko="그 --sink 로 시작하거나 이 센터용 자격 증명을 새로 만드십시오",
    )
