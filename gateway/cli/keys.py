"""The verbs that give a gateway and its center keys: enrol, credentials."""

from __future__ import annotations

import argparse

from gateway.cli.verb import Add


def verbs(add: Add) -> None:
    enrol = add(
        "enrol",
        _enrol,
        "agree on an OSCORE context with a center (EDHOC), each side knowing the other's key",
        "citygate enrol site.toml --center 3f2a-91bc-0d44-7e1b-a0c2-55f9-8d63-e417 --wait 600",
    )
    enrol.add_argument("site", help="site file")
    enrol.add_argument("--upstream", default="", help="which of the site's upstreams, where there are several")
    enrol.add_argument("--center", default="", metavar="FINGERPRINT", help="as citygate center key prints it there")
    enrol.add_argument("--wait", type=float, default=0.0, metavar="S", help="until an operator accepts (default 0)")
    enrol.add_argument(
        "--rebind", action="store_true", help="the card moved to this machine for good: take its key over"
    )
    enrol.add_argument("--json", action="store_true", help="one JSON object")

    keys = add(
        "credentials",
        _credentials,
        "make the pair of OSCORE contexts of one gateway and its center",
        "citygate credentials new --gateway cab-7 --out-gateway credentials/center --out-center intake",
    )
    keys.add_argument(
        "action", choices=["new", "begin"], help="begin: numbers for a key that systemd hands over and nobody has used"
    )
    keys.add_argument("--gateway", default="", help="the gateway's id, as in its site file")
    keys.add_argument("--out-gateway", required=True, metavar="DIR", help="folder for the gateway's half")
    keys.add_argument(
        "--out-center",
        default="",
        metavar="DIR",
        help="the center's credentials folder; its half goes into a subfolder",
    )


def _enrol(args: argparse.Namespace) -> int:
    from gateway.tools.enrol import enrol

    return enrol(args.site, args.upstream, args.center, wait_s=args.wait, rebind=args.rebind, json=args.json)


def _credentials(args: argparse.Namespace) -> int:
    from gateway.tools.credentials import begin, new

    if args.action == "begin":
        return begin(args.out_gateway)
    return new(args.gateway, args.out_gateway, args.out_center)
