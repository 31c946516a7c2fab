"""What a center asks of its gateways: ask, command."""

from __future__ import annotations

import argparse

from gateway.cli.verb import Add


def verbs(add: Add) -> None:
    words = "read a resource of a connected gateway, or see who is connected"
    ask = add("ask", _ask, words, "citygate ask cab-7 health")
    ask.add_argument("gateway", nargs="?", default="", help="gateway's id (default: list who is connected)")
    ask.add_argument("path", nargs="?", default=".well-known/core", help="resource (default: list them)")
    ask.add_argument("--observe", action="store_true", help="go on telling changes until Ctrl-C")
    ask.add_argument("--within", type=float, default=15.0, metavar="S", help="give up after so long (default 15)")
    ask.add_argument("--control", default="", metavar="PATH", help="the center's control socket")
    ask.add_argument("--json", action="store_true", help="one JSON object, with --observe one a change")

    words = "set a point of a device behind a gateway for a time, read back; it goes back by itself"
    command = add("command", _command, words, "citygate command cab-7 lamp1.level 40 --for 15m")
    command.add_argument("gateway", help="gateway's id")
    command.add_argument("point", nargs="?", default="", help="device.point (default: show what stands and may be set)")
    command.add_argument("value", nargs="?", type=float, help="in the profile's unit")
    command.add_argument("--for", dest="for_", metavar="15m", default="", help="how long, up to the site's longest")
    command.add_argument("--release", action="store_true", help="end it now: the point goes back to rest")
    command.add_argument("--by", default="", help="who (default: the user)")
    command.add_argument("--control", default="", metavar="PATH", help="the center's control socket")
    command.add_argument("--json", action="store_true", help="one JSON object")


def _ask(args: argparse.Namespace) -> int:
    from gateway.tools.ask import run

    return run(
        args.gateway,
        args.path,
        observe=args.observe,
        within_s=args.within,
        control=args.control,
        json=args.json,
    )


def _command(args: argparse.Namespace) -> int:
    from gateway.tools.command import run

    return run(
        args.gateway,
        args.point,
        args.value,
        for_=args.for_,
        release=args.release,
        by=args.by,
        control=args.control,
        json=args.json,
    )
