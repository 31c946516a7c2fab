"""`citygate`: argument parsing only. Each verb imports its own part when it is called, so `--help` stays quick."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from gateway import VERSION
from gateway.cli import agent, bench, configuration, keys, library, looking, node, panel, release, running, work
from gateway.cli.verb import Verb

EPILOG = """\
examples:
  citygate demo --seconds 60            a simulated city block, end to end
  citygate check site.toml              every fault of a site and its profiles, with file and line
  citygate run site.toml                both halves under one roof
exit codes: 0 done, 1 faults found, 2 wrong use or refused start, 3 address in use, 130 interrupted"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(arguments)
    _log(args.verbose)
    verb: Verb = args.verb
    try:
        return verb(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def _log(verbose: int) -> None:
    level = logging.WARNING if verbose < 0 else logging.DEBUG if verbose > 0 else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    for chatty in ("aiocoap", "coap", "coap-server", "pymodbus", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING if verbose <= 0 else logging.DEBUG)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="citygate",
        description="Street-cabinet gateway: polls sensors, judges every reading, sends alarms and compact summaries.",
        epilog=EPILOG,
        formatter_class=raw,
    )
    parser.add_argument("--version", action="version", version=f"citygate {VERSION}")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="debug output")
    below = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def add(name: str, verb: Verb, words: str, example: str) -> argparse.ArgumentParser:
        sub = below.add_parser(name, help=words, description=words, epilog=f"example: {example}", formatter_class=raw)
        sub.set_defaults(verb=verb)
        return sub

    for part in (running, library, bench, looking, work, keys, panel, agent, node, release, configuration):
        part.verbs(add)
    return parser
