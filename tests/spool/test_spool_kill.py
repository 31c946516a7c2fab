"""A writer killed with SIGKILL at any moment loses nothing that `append` has returned for."""

import subprocess
import sys
from pathlib import Path

from gateway.spool.records import Lane
from gateway.spool.spool import Spool

WRITER = """
import sys
from gateway.site.upstream import Catalog
from gateway.spool.records import Values
from gateway.spool.spool import Spool
spool = Spool.open(sys.argv[1])
catalog = spool.put_catalog(Catalog("cab", (("d.p", "d", "p", "", 0, 0.0),)))
for k in range(10**6):
    for _, _, seq in spool.append([("a", Values(((0, k, float(k), 0),)))] * (1 + k % 3), catalog=catalog):
        print(seq, flush=True)
"""


def test_twenty_kills_lose_nothing_and_leave_no_holes(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    boots = set()
    for round_ in range(20):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout
        acknowledged = -1
        for _ in range(1 + 7 * round_):
            acknowledged = int(writer.stdout.readline())
        writer.kill()
        rest = writer.stdout.read().split(b"\n")[:-1]
        acknowledged = int(rest[-1]) if rest else acknowledged
        writer.wait()
        writer.stdout.close()
        reader = Spool.open(path, role="reader")
        boots.add(reader.boot)
        records = reader.take("a", Lane.SUMMARY, 10**6)
        assert [r.seq for r in records] == list(range(len(records)))
        assert len(records) > acknowledged
        reader.close()
    assert len(boots) == 1
