"""The verbs that describe devices: check, profile, import, schema."""

from __future__ import annotations

import argparse

from gateway.cli.verb import Add


def verbs(add: Add) -> None:
    check = add("check", _check, "every fault of site files and profiles", "citygate check site.toml --json")
    check.add_argument("paths", nargs="+", help="site files, profiles, or folders of profiles")
    check.add_argument("--json", action="store_true", help="one JSON object a fault")
    check.add_argument("--lang", choices=["en", "ko"], help="language (default: the locale's)")

    _profiles(add("profile", _profile, "the library of device profiles", "citygate profile search 유량"))

    taken = add(
        "import",
        _import,
        "profiles from what other systems have: Telegraf, Home Assistant, EdgeX, W3C Thing Descriptions",
        "citygate import telegraf.conf --family water",
    )
    taken.add_argument("file", metavar="FILE", help="TOML, YAML or JSON of the other system")
    taken.add_argument(
        "--from",
        dest="format",
        choices=["telegraf", "homeassistant", "edgex", "thing"],
        default="",
        help="whose file it is (default: by its contents)",
    )
    taken.add_argument("--out", metavar="DIR", default="profiles", help="folder of profiles (default profiles)")
    taken.add_argument(
        "--family", choices=["water", "streetlight", "air", "traffic", "other"], default="other", help="default other"
    )
    taken.add_argument("--json", action="store_true", help="one JSON object, all that did not carry over included")

    schema = add(
        "schema",
        _schema,
        "the JSON Schema of profiles or sites, for editors",
        "citygate schema profile --out profile.schema.json",
    )
    schema.add_argument("kind", choices=["profile", "site"])
    schema.add_argument("--out", metavar="FILE", default="", help="write it there instead of to standard output")


def _profiles(profile: argparse.ArgumentParser) -> None:
    """The verbs below `citygate profile`."""
    whats = profile.add_subparsers(dest="what", required=True, metavar="WHAT")
    about = {
        "list": "every profile that a site can name",
        "search": "profiles in which all words occur: vendor, model, name, role, point, in Korean or English",
        "show": "one profile in full",
        "test": "decode its captures, byte by byte to value",
        "new": "write one to be filled in",
    }
    for what, words in about.items():
        one = whats.add_parser(what, help=words, description=words)
        if what == "new":
            one.add_argument("name", help="FAMILY/VENDOR-MODEL, as water/acme-f100")
            one.add_argument("--protocol", choices=["modbus", "serial", "ble", "coap"], default="modbus")
            one.add_argument("--out", metavar="DIR", default="profiles", help="folder of profiles (default profiles)")
            continue
        if what == "list":
            one.add_argument("--family", default="", help="water, streetlight, air, traffic, other")
            one.add_argument("--protocol", default="", help="modbus, serial, ble, coap")
        elif what == "search":
            one.add_argument("words", nargs="+")
        else:
            one.add_argument("name", help="family/vendor-model, or a file")
        one.add_argument("--profiles", metavar="DIR", action="append", default=[], help="look there first")
        one.add_argument("--json", action="store_true", help="one JSON object")


def _check(args: argparse.Namespace) -> int:
    from gateway.tools.check import run

    return run(args.paths, json=args.json, lang=args.lang)


def _profile(args: argparse.Namespace) -> int:
    from gateway.tools import profile

    if args.what == "list":
        return profile.list_profiles(args.profiles, args.family, args.protocol, json=args.json)
    if args.what == "search":
        return profile.search(args.words, args.profiles, json=args.json)
    if args.what == "new":
        return profile.new(args.name, args.protocol, args.out)
    verb = profile.show if args.what == "show" else profile.test
    return verb(args.name, args.profiles, json=args.json)


def _import(args: argparse.Namespace) -> int:
    from gateway.tools.importing import run

    return run(args.file, args.format, args.out, args.family, json=args.json)


def _schema(args: argparse.Namespace) -> int:
    from gateway.tools import schema

    return schema.run(args.kind, args.out)
