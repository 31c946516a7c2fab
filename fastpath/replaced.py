"""A counter's meter was exchanged: what comes next is no step from what came before."""

from __future__ import annotations

from fastpath.chain import Chain
from fastpath.layout import NEVER
from fastpath.summary import BEFORE_NS


def begin_anew(chain: Chain, channel: int) -> None:
    """The next reading of `channel` adds nothing to its window's delta."""
    chain._state.whole[channel, BEFORE_NS] = NEVER
