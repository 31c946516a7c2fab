"""The verbs of configurations: bundle, configure."""

from __future__ import annotations

import argparse

from gateway.cli.verb import Add, lacks


def verbs(add: Add) -> None:
    words = "keys, and configurations signed with them, for gateways"
    bundle = add("bundle", _bundle, words, "citygate bundle make site.toml --key center.key")
    whats = bundle.add_subparsers(dest="what", required=True, metavar="WHAT")
    keygen = whats.add_parser("keygen", help="a pair of keys", description="a pair of keys: OUT.key, OUT.pub")
    keygen.add_argument("--out", default="configuration", help="default configuration")
    make = whats.add_parser("make", help="check a site and sign it", description="check a site and sign it")
    make.add_argument("site", help="site file")
    make.add_argument("--key", required=True, metavar="FILE.key", help="as citygate bundle keygen made it")
    make.add_argument("--gateway", action="append", default=[], help="who may take it (default: the site's); * for all")
    make.add_argument("--number", type=int, help="rises with each one (default: the time)")
    make.add_argument("--profiles", metavar="DIR", action="append", default=[], help="profiles to send along")
    make.add_argument("--out", metavar="FILE", default="", help="default GATEWAY-NUMBER.bundle")
    show = whats.add_parser("show", help="what is in one", description="what is in one")
    show.add_argument("file")
    show.add_argument("--trust", metavar="FILE.pub", action="append", default=[], help="is it signed by this key?")
    show.add_argument("--json", action="store_true", help="one JSON object")

    words = "a new configuration, tried before it is kept: push from a center, apply at the gateway"
    configure = add("configure", _configure, words, "citygate configure apply new.toml --site site.toml --by Kim")
    configure.add_argument("what", choices=["push", "apply", "status", "revert"])
    configure.add_argument("about", nargs="*", metavar="GATEWAY BUNDLE | NEW.toml", help="push: both; apply: the file")
    configure.add_argument("--site", default="/etc/citygate/site.toml", help="at the gateway (default: %(default)s)")
    configure.add_argument("--center", metavar="GATEWAY", default="", help="status, revert: of that gateway, from here")
    configure.add_argument("--control", default="", metavar="PATH", help="the center's control socket")
    configure.add_argument("--by", default="", help="who (default: the user)")
    configure.add_argument("--no-wait", action="store_true", help="do not wait for the end of the trial")
    configure.add_argument("--json", action="store_true", help="one JSON object")


def _bundle(args: argparse.Namespace) -> int:
    from gateway.tools import bundle

    if args.what == "keygen":
        return bundle.keygen(args.out)
    if args.what == "show":
        return bundle.show(args.file, args.trust, json=args.json)
    return bundle.make(args.site, args.gateway, args.key, sequence=args.number, profiles=args.profiles, out=args.out)


def _configure(args: argparse.Namespace) -> int:
    from gateway.tools import configure
    from gateway.tools.running import whoever

    wait, by = not args.no_wait, args.by or whoever()
    if args.what == "push":
        if len(args.about) != 2:
            return lacks("configure push", "GATEWAY BUNDLE")
        return configure.push(*args.about, control=args.control, wait=wait, json=args.json)
    if args.what == "apply":
        if len(args.about) != 1:
            return lacks("configure apply", "NEW.toml")
        return configure.apply(args.site, args.about[0], by=by, wait=wait, json=args.json)
    if args.what == "status":
        if args.center:
            return configure.push_status(args.center, control=args.control, json=args.json)
        return configure.status(args.site, json=args.json)
    if args.center:
        return configure.push_back(args.center, control=args.control, wait=wait, json=args.json)
    return configure.back(args.site, by=by, wait=wait, json=args.json)
