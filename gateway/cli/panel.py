"""The verbs of the panel: serve, invite, list, revoke."""

from __future__ import annotations

import argparse

from gateway.cli.verb import Add


def verbs(add: Add) -> None:
    words = "what the cabinet knows, on a phone: pages over TLS, off by default"
    panel = add("panel", _panel, words, "citygate panel invite site.toml --for 2h --role operate")
    whats = panel.add_subparsers(dest="what", required=True, metavar="WHAT")

    serve = whats.add_parser("serve", help="serve the pages", description="serve the pages")
    serve.add_argument("site", help="site file")
    serve.add_argument("--bind", default="127.0.0.1:8443", help="HOST:PORT (default 127.0.0.1:8443)")
    serve.add_argument("--name", action="append", default=[], help="a name or address it is called by; may be repeated")
    serve.add_argument("--certificate", metavar="FILE.pem", default="", help="default: its own, made once")
    serve.add_argument("--key", metavar="FILE.pem", default="", help="of --certificate")
    serve.add_argument("--plain", action="store_true", help="without TLS, on loopback only")

    invite = whats.add_parser("invite", help="let somebody in, once", description="let somebody in, once")
    invite.add_argument("site", help="site file")
    invite.add_argument("--for", dest="for_", metavar="2h", default="8h", help="how long (default 8h)")
    invite.add_argument("--role", choices=["observe", "operate", "metrics"], default="observe")
    invite.add_argument("--who", default="", help="the person's or program's name, for the audit log")
    invite.add_argument("--url", default="", help="where the panel is reached (default: as it was served)")
    invite.add_argument("--json", action="store_true", help="one JSON object")

    listed = whats.add_parser("list", help="invitations and sessions", description="invitations and sessions")
    listed.add_argument("site", help="site file")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")

    revoke = whats.add_parser("revoke", help="shut somebody out", description="shut somebody out")
    revoke.add_argument("site", help="site file")
    revoke.add_argument("id", help="as citygate panel list prints it, or all")
    for one in (serve, invite, listed, revoke):
        one.add_argument(
            "--state", metavar="DIR", default="", help="the panel's folder (default: beside the state folder)"
        )


def _panel(args: argparse.Namespace) -> int:
    from gateway.tools import panel

    if args.what == "serve":
        return panel.serve(
            args.site,
            state=args.state,
            bind=args.bind,
            names=tuple(args.name),
            certificate=args.certificate,
            key=args.key,
            plain=args.plain,
        )
    if args.what == "invite":
        who = {"for_": args.for_, "role": args.role, "name": args.who, "url": args.url}
        return panel.invite(args.site, state=args.state, json=args.json, **who)
    if args.what == "list":
        return panel.listed(args.site, state=args.state, json=args.json)
    return panel.revoke(args.site, args.id, state=args.state)
