#!/bin/sh
# One process of one release: the real folder is named, so that nothing is imported from another one after a switch.
# -I: neither the caller's folder nor its PYTHON* variables are looked at. faulthandler: what the watchdog kills (SIGABRT) says
# first where each of its threads was.
here=$(dirname "$(readlink -f "$0")")
exec "$here/python3" -I -X faulthandler -m gateway.cli "$@"
