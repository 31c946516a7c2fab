"""What the launcher starts, from the package and from a slot's image: python -m gateway.node [--check] CONFIG.toml"""

from __future__ import annotations

import sys

from gateway.node.main import check, run

if __name__ == "__main__":
    sys.exit(check(sys.argv[2]) if sys.argv[1] == "--check" else run(sys.argv[1]))
