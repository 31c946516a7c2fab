"""The verb of releases: the signed repository, and what gateways run."""

from __future__ import annotations

import argparse
from typing import Any

from gateway.cli.verb import Add


def verbs(add: Add) -> None:
    release = add(
        "release",
        _release,
        "sign releases, publish them at the center, bring them to gateways",
        "citygate release push cab-7 cab-8 --release 0.2.0 --wait",
    )
    below = release.add_subparsers(dest="what", required=True, metavar="WHAT")

    def one(name: str, words: str, *, repository: bool = True, keys: bool = True) -> argparse.ArgumentParser:
        sub = below.add_parser(name, help=words, description=words)
        if repository:
            sub.add_argument("repository", metavar="REPO", help="folder of the signed repository")
        if keys:
            sub.add_argument("--keys", required=True, metavar="DIR", help="folder of the private keys")
        sub.add_argument("--json", action="store_true", help="one JSON object")
        return sub

    one("init", "begin a repository, with a key for each role")
    adding = one("add", "put images (make release) on the signed list")
    adding.add_argument("images", nargs="+", metavar="IMAGE", help="citygate_VERSION_ARCH.tar.xz")
    one("remove", "take a release off the list").add_argument("release", metavar="VERSION")
    one("sign", "let what the keys here sign expire later: once a month, from cron, with timestamp.pem alone")
    rotating = one("rotate", "a new key for a role; gateways follow by themselves")
    rotating.add_argument("role", choices=["root", "targets", "snapshot", "timestamp"])
    one("publish", "copy the repository to the folder that a center hands out (--files)", keys=False).add_argument(
        "files", metavar="FILES"
    )
    one("show", "what is listed, and until when", keys=False)
    for name, words in (
        ("push", "ask gateways to take a release: fetched, tried, kept or gone back from"),
        ("status", "what gateways run, and what is under way"),
        ("giveup", "end a download; a trial ends by itself"),
    ):
        sub = one(name, words, repository=False, keys=False)
        sub.add_argument("gateways", nargs="+", metavar="GATEWAY")
        sub.add_argument("--control", default="", metavar="PATH", help="the center's control socket")
        if name == "push":
            sub.add_argument("--release", required=True, metavar="VERSION")
            sub.add_argument("--older", action="store_true", help="also one that is older than what runs")
            sub.add_argument("--by", default="", metavar="NAME", help="who wants it, for the audit log")
            sub.add_argument("--wait", action="store_true", help="until it is kept, refused or gone back from")


def _release(args: argparse.Namespace) -> int:
    from gateway.tools import release

    if args.what in ("push", "status", "giveup"):
        return _gateways(args)
    work: dict[str, Any] = {
        "init": lambda: release.init(args.repository, args.keys, json=args.json),
        "add": lambda: release.add(args.repository, args.images, args.keys, json=args.json),
        "remove": lambda: release.remove(args.repository, args.release, args.keys, json=args.json),
        "sign": lambda: release.sign(args.repository, args.keys, json=args.json),
        "rotate": lambda: release.rotate(args.repository, args.role, args.keys, json=args.json),
        "publish": lambda: release.publish(args.repository, args.files, json=args.json),
        "show": lambda: release.show(args.repository, json=args.json),
    }
    return int(work[args.what]())


def _gateways(args: argparse.Namespace) -> int:
    from gateway.tools import release

    ask = release.through(args.control)
    if args.what == "push":
        return release.push(
            args.gateways, args.release, ask, older=args.older, by=args.by, wait=args.wait, json=args.json
        )
    looking = release.status if args.what == "status" else release.give_up
    return looking(args.gateways, ask, json=args.json)
