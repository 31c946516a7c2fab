"""What a verb of the command line is, and how a module of verbs adds its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Protocol

Verb = Callable[[argparse.Namespace], int]
"""Takes the parsed arguments, returns the exit code; imports its own part when it is called."""


class Add(Protocol):
    """Adds a verb: its name, what runs it, its line in the help, an example."""

    def __call__(self, name: str, verb: Verb, words: str, example: str) -> argparse.ArgumentParser: ...


def lacks(verb: str, what: str) -> int:
    """Says what a verb was not given; wrong use's exit code."""
    print(f"citygate {verb}: give {what}; see citygate {verb} --help", file=sys.stderr)
    return 2
