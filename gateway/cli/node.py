"""The verbs of nodes behind a gateway: node runs one, firmware makes and signs what they run."""

from __future__ import annotations

import argparse

from gateway.cli.verb import Add, lacks

WANTS = {
    "keygen": ("KEY",),
    "image": ("IMAGE",),
    "sign": ("IMAGE",),
    "show": ("MANIFEST",),
    "offer": ("GATEWAY", "NODE", "MANIFEST"),
    "withdraw": ("GATEWAY", "NODE"),
    "updates": ("GATEWAY",),
}


def verbs(add: Add) -> None:
    node = add("node", _node, "a CoAP sensor node: measures, serves, updates itself", "citygate node node.toml")
    node.add_argument("config", help="the node's file (docs/nodes.md)")
    node.add_argument("--check", action="store_true", help="look at the file alone: 0 where it is right, else 1")

    firmware = add(
        "firmware",
        _firmware,
        "firmware of nodes: images, signed manifests, updates through a gateway",
        "citygate firmware sign node.image --key maker.pem --vendor example.com --class air-node --sequence 7",
    )
    firmware.add_argument(
        "action",
        choices=list(WANTS),
        help="at the maker's: keygen KEY, image IMAGE, sign IMAGE, show MANIFEST; where the center runs: "
        "offer GATEWAY NODE MANIFEST (a name in its --files), withdraw GATEWAY NODE, updates GATEWAY",
    )
    firmware.add_argument("what", nargs="*", help="as the action says")
    firmware.add_argument("--key", default="", metavar="PEM", help="sign: private key, Ed25519")
    firmware.add_argument("--vendor", default="", help="sign: domain name of who makes the node, or a UUID")
    firmware.add_argument("--class", dest="kind", default="", help="sign: the kind of node, by name or UUID")
    firmware.add_argument("--sequence", type=int, default=0, help="sign: above that of every firmware before")
    firmware.add_argument("--version", dest="named", default="", help="sign: what people call it")
    firmware.add_argument("--uri", default="", help="sign: where the image is, beside the manifest (default its name)")
    firmware.add_argument("--out", default="", metavar="FILE", help="sign: the manifest (default IMAGE.suit)")
    firmware.add_argument("--trust", action="append", default=[], metavar="PEM", help="show: public key that proves it")
    firmware.add_argument("--follow", action="store_true", help="offer: until the node runs it, or has refused it")
    firmware.add_argument("--control", default="", metavar="PATH", help="the center's control socket")
    firmware.add_argument("--json", action="store_true", help="one JSON object, with --follow one a change")


def _node(args: argparse.Namespace) -> int:
    from gateway.node.launcher import check, run

    return check(args.config) if args.check else run(args.config)


def _firmware(args: argparse.Namespace) -> int:
    wants = WANTS[args.action]
    if len(args.what) != len(wants):
        return lacks(f"firmware {args.action}", " ".join(wants))
    if args.action in ("offer", "withdraw", "updates"):
        return _update(args)
    from gateway.tools import node

    match args.action:
        case "keygen":
            return node.keygen(args.what[0], json=args.json)
        case "image":
            return node.image(args.what[0], json=args.json)
        case "show":
            return node.show(args.what[0], args.trust, json=args.json)
    if not (args.key and args.vendor and args.kind and args.sequence > 0):
        return lacks("firmware sign", "--key, --vendor, --class and a --sequence above 0")
    from gateway.wire import suit

    image = args.what[0]
    vendor = suit.vendor_id(args.vendor)
    kind = suit.class_id(vendor, args.kind)
    wanted = suit.Manifest(vendor, kind, args.sequence, b"", 0, args.uri, args.named)
    return node.sign(image, args.key, args.out or f"{image}.suit", wanted, json=args.json)


def _update(args: argparse.Namespace) -> int:
    from gateway.tools import node_updates

    if args.action == "offer":
        return node_updates.offer(*args.what, follow=args.follow, control=args.control, json=args.json)
    if args.action == "withdraw":
        return node_updates.withdraw(*args.what, control=args.control)
    return node_updates.updates(*args.what, control=args.control, json=args.json)
