"""The package on a Debian 12 under its own systemd: what a technician does with apt and systemctl, and what a cabinet
does to a service. The tests follow each other on one machine, from install to purge."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nspawn_rig import Machine

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(os.geteuid() != 0, reason="a container with a systemd of its own needs root"),
]

ROOT = Path(__file__).parents[2]
OLD, NEW, SENT = "0.1.0", "0.1.1", "0.2.0"
GOOD, DEAD, BLIND = (
    "0.3.0",
    "0.3.1",
    "0.3.2",
)  # releases of a center: one that is good, one that never starts, one whose
# field half starts and finds no point
FIELD, UPLINK = "citygate-field", "citygate-uplink"
SITE = """schema = 1
[gateway]
id = "cab-7"
state_dir = "/var/lib/citygate/state"
window_s = 2.0
[[upstreams]]
name = "city"
uri = "coap://127.0.0.1:5683"
credentials = "/var/lib/citygate/credentials/city"
agent = ["observe", "operate", "release"]
[agent]
trust = ["/etc/citygate/ops.pub"]
releases = "/etc/citygate/root.json"
probation_s = 8.0
[[links]]
name = "cabinet"
url = "tcp://127.0.0.1:1502"
[[devices]]
name = "meter"
profile = "streetlight/eastron-sdm120"
link = "cabinet"
unit = 1
period_s = 0.5
"""
BROKEN = SITE.replace("sdm120", "sdm12O").replace("period_s", "perod_s")
STREET = """
import asyncio, time
from gateway.sim.street import Street
from gateway.sim.world import Sent, Signal, World
from gateway.site.compile import load_plan

async def main():
    plan = load_plan("/etc/citygate/site.toml")
    world = World({"meter.voltage": Signal(230.25)})
    street = Street(plan, {}, world, Sent(), lambda: (time.clock_gettime_ns(time.CLOCK_BOOTTIME), 1.0))
    await street.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""
ASK = "citygate ask --control /srv/center.sock"
PYTHON = "/opt/citygate/current/bin/python3 -I"
# quicker than on a street: the tests wait for the kill
QUICK = "[Service]\nWatchdogSec=8s\nTimeoutAbortSec=1s\nRestartSec=0.5s\n"


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Version -> package, hardly compressed."""
    out = tmp_path_factory.mktemp("debs")
    for version in (OLD, NEW):
        build = [sys.executable, str(ROOT / "packaging/build.py"), "--fast", "--arch", "amd64"]
        done = subprocess.run([*build, "--out", str(out), "--version", version], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return {version: out / f"citygate_{version}_amd64.deb" for version in (OLD, NEW)}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release as a center sends it, hardly compressed."""
    out = tmp_path_factory.mktemp("image")
    build = [sys.executable, str(ROOT / "packaging/release.py"), "--fast", "--arch", "amd64"]
    done = subprocess.run([*build, "--out", str(out), "--version", GOOD], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / f"citygate_{GOOD}_amd64.tar.xz"


@pytest.fixture(scope="module")
def machine(debs: dict[str, Path], image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("machine") / "root") as booted:
        for deb in debs.values():
            shutil.copy(deb, booted.root / "srv")
        yield booted


def pid(machine: Machine, unit: str) -> int:
    return int(machine.show(unit, "MainPID"))


def counted(machine: Machine) -> int:
    """Readings in windows that the center has committed."""
    ask = f"""{PYTHON} -c "import sqlite3
print(sqlite3.connect('file:/srv/center.db?mode=ro', uri=True).execute('select coalesce(sum(n), 0) from window')
.fetchone()[0])" """
    done = machine.ran(ask)
    return int(done.stdout) if done.returncode == 0 else 0


def more_arrives(machine: Machine) -> None:
    before = counted(machine)
    machine.until("more summaries at the center", lambda: counted(machine) > before)


def comes_back(machine: Machine, unit: str, before: int) -> None:
    machine.until(
        f"{unit} runs again",
        lambda: machine.show(unit, "ActiveState") == "active" and pid(machine, unit) not in (0, before),
    )


def release_in_use(machine: Machine, unit: str) -> str:
    """The folder that the running process was started from."""
    return machine.sh(f"tr '\\0' '\\n' < /proc/{pid(machine, unit)}/cmdline | head -1")


def test_it_installs_without_a_network_and_enables_nothing(machine: Machine) -> None:
    said = machine.sh(f"dpkg -i /srv/citygate_{OLD}_amd64.deb")

    assert "citygate check /etc/citygate/site.toml" in said
    assert machine.sh("citygate --version") == f"citygate {OLD}"
    assert machine.ran("systemctl is-enabled citygate.target").stdout.strip() == "disabled"
    assert machine.sh("stat -c '%U:%G %a' /etc/citygate/site.toml") == "root:citygate 640"
    assert machine.sh("citygate check /etc/citygate/site.toml") != ""
    verified = machine.ran("systemd-analyze verify --man=no citygate.target citygate-switch.service")
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_a_summary_reaches_the_center(machine: Machine) -> None:
    (machine.root / "etc/citygate/site.toml").write_text(SITE)
    for unit in (FIELD, UPLINK):
        folder = machine.root / f"etc/systemd/system/{unit}.service.d"
        folder.mkdir()
        (folder / "quick.conf").write_text(QUICK)
    (machine.root / "srv/street.py").write_text(STREET)
    machine.sh("citygate credentials new --gateway cab-7 --out-gateway /var/lib/citygate/credentials/city "
               "--out-center /srv/intake && citygate bundle keygen --out /srv/ops && "
               "install -m 0644 /srv/ops.pub /etc/citygate/ops.pub")  # fmt: skip
    machine.sh("chown -R citygate-uplink:citygate /var/lib/citygate/credentials")
    machine.sh(f"systemd-run --unit=street {PYTHON} /srv/street.py")
    machine.sh("systemd-run --unit=center citygate center --bind 127.0.0.1:5683 --db /srv/center.db "
               "--credentials /srv/intake --files /srv/files --control /srv/center.sock")  # fmt: skip
    machine.sh("systemctl daemon-reload && systemctl enable --now citygate.target")

    machine.until("a first summary at the center", lambda: counted(machine) > 0, 120.0)  # kernels compile once

    assert machine.show(FIELD, "ActiveState") == machine.show(UPLINK, "ActiveState") == "active"
    assert machine.show(FIELD, "NRestarts") == machine.show(UPLINK, "NRestarts") == "0"
    assert machine.sh("ls /var/cache/citygate") != "", "kernels are kept for the next start"
    state = machine.sh("stat -c '%U %G %a' /var/lib/citygate/state/spool.db")
    assert state == "citygate-field citygate 660"


def test_a_good_reload_is_taken_over_by_the_running_process(machine: Machine) -> None:
    before = pid(machine, FIELD)
    changed = SITE.replace("period_s = 0.5", "period_s = 0.25")
    (machine.root / "etc/citygate/site.toml").write_text(changed)

    machine.sh(f"systemctl reload {FIELD} {UPLINK}")

    machine.until("it is read", lambda: "configuration read again" in machine.journal(FIELD))
    more_arrives(machine)
    assert pid(machine, FIELD) == before


def test_a_broken_file_is_refused_and_the_old_one_goes_on(machine: Machine) -> None:
    before = pid(machine, FIELD), pid(machine, UPLINK)
    (machine.root / "etc/citygate/site.toml").write_text(BROKEN)

    for unit in (FIELD, UPLINK):
        assert machine.ran(f"systemctl reload {unit}").returncode != 0
        assert "perod_s" in machine.journal(unit), "the journal names the fault"

    assert (pid(machine, FIELD), pid(machine, UPLINK)) == before
    more_arrives(machine)
    (machine.root / "etc/citygate/site.toml").write_text(SITE)


@pytest.mark.parametrize("unit", [FIELD, UPLINK])
def test_a_killed_half_comes_back(machine: Machine, unit: str) -> None:
    before = pid(machine, unit)
    machine.sh(f"kill -KILL {before}")

    comes_back(machine, unit, before)
    more_arrives(machine)


@pytest.mark.parametrize("unit", [FIELD, UPLINK])
def test_a_hung_half_is_killed_by_the_watchdog(machine: Machine, unit: str) -> None:
    before = pid(machine, unit)
    machine.sh(f"kill -STOP {before}")

    comes_back(machine, unit, before)
    assert "watchdog" in machine.journal(unit).lower()
    more_arrives(machine)


def test_a_dead_bus_is_no_reason_to_restart(machine: Machine) -> None:
    machine.sh("systemctl kill -s STOP street.service")
    before = pid(machine, FIELD), machine.show(FIELD, "NRestarts")
    fed = machine.show(FIELD, "WatchdogTimestampMonotonic")

    def fed_for_longer_than_its_patience() -> bool:
        return int(machine.show(FIELD, "WatchdogTimestampMonotonic")) > int(fed) + 12_000_000

    machine.until("the watchdog is fed on", fed_for_longer_than_its_patience)
    assert (pid(machine, FIELD), machine.show(FIELD, "NRestarts")) == before
    machine.sh("systemctl kill -s CONT street.service")
    more_arrives(machine)


def test_an_upgrade_keeps_configuration_and_data(machine: Machine) -> None:
    before, arrived = pid(machine, FIELD), counted(machine)
    machine.sh(f"dpkg -i /srv/citygate_{NEW}_amd64.deb")

    comes_back(machine, FIELD, before)
    more_arrives(machine)
    assert release_in_use(machine, FIELD) == f"/opt/citygate/releases/{NEW}/bin/python3"
    assert (machine.root / "etc/citygate/site.toml").read_text() == SITE
    assert counted(machine) > arrived
    assert machine.sh("citygate --version") == f"citygate {NEW}"


def test_the_switch_takes_a_release_that_was_sent_and_goes_back(machine: Machine) -> None:
    sent = "/var/lib/citygate/releases"
    machine.sh(f"cp -a /opt/citygate/releases/{NEW} {sent}/{SENT} && chown -R citygate-uplink:citygate {sent}/{SENT}")
    for name, folder in ((SENT, sent), (NEW, "/opt/citygate/releases")):
        before = pid(machine, FIELD)
        ask(machine, name)
        comes_back(machine, FIELD, before)
        assert machine.sh("readlink /opt/citygate/current") == f"{folder}/{name}"
        assert release_in_use(machine, FIELD) == f"{folder}/{name}/bin/python3"
        more_arrives(machine)


def test_apt_never_goes_behind_a_newer_release(machine: Machine) -> None:
    before = pid(machine, FIELD)
    ask(machine, SENT)
    comes_back(machine, FIELD, before)
    said = machine.sh(f"dpkg -i /srv/citygate_{NEW}_amd64.deb")

    assert f"release {SENT} is newer" in said
    assert machine.sh("readlink /opt/citygate/current") == f"/var/lib/citygate/releases/{SENT}"


def test_the_switch_refuses_what_is_not_there(machine: Machine) -> None:
    link = machine.sh("readlink /opt/citygate/current")
    before = pid(machine, FIELD)
    ask(machine, "9.9.9")

    answer = json.loads(machine.sh("cat /run/citygate-switch/answer"))
    assert (answer["ok"], answer["code"], answer["request"]) == (False, "CG-6001", "9.9.9")
    assert machine.sh("readlink /opt/citygate/current") == link
    assert pid(machine, FIELD) == before


def test_an_older_package_can_be_put_back(machine: Machine) -> None:
    before = pid(machine, FIELD)
    ask(machine, NEW)
    comes_back(machine, FIELD, before)
    before = pid(machine, FIELD)
    machine.sh(f"dpkg -i /srv/citygate_{OLD}_amd64.deb")

    comes_back(machine, FIELD, before)
    assert machine.sh("citygate --version") == f"citygate {OLD}"
    more_arrives(machine)


def test_a_release_of_the_center_is_fetched_tried_and_kept(machine: Machine, image: Path) -> None:
    shutil.copy(image, machine.root / "srv")
    machine.sh("citygate release init /srv/repository --keys /srv/keys && "
               f"citygate release add /srv/repository /srv/{image.name} --keys /srv/keys && "
               "citygate release publish /srv/repository /srv/files && "
               "install -m 0644 /srv/repository/metadata/1.root.json /etc/citygate/root.json")  # fmt: skip

    said = pushed(machine, GOOD)

    assert (said["state"], said["running"], said.get("code")) == ("committed", GOOD, None)
    for unit in (FIELD, UPLINK):
        assert release_in_use(machine, unit) == f"/var/lib/citygate/releases/{GOOD}/bin/python3"
    assert not (machine.root / "opt/citygate/trial").exists()
    assert machine.show("citygate-trial.timer", "ActiveState") == "inactive"
    more_arrives(machine)
    audited = [json.loads(line)["what"] for line in machine.sh("cat /var/lib/citygate/state/audit.jsonl").splitlines()]
    assert [what for what in audited if what.startswith("release")][-2:] == ["release asked", "release committed"]
    kernels = machine.sh("find /var/cache/citygate -mindepth 1 -maxdepth 1 -type d | wc -l")
    assert kernels == "1", "the same kernels are not compiled again for another release"


def never_starts(tree: Path) -> None:
    (tree / "bin/citygate").write_text("#!/bin/sh\nexit 1\n")


def sees_nothing(tree: Path) -> None:
    shown = tree / "lib/python3.11/site-packages/gateway/field/shown.py"
    shown.write_text(shown.read_text().replace('"channels": [', '"channels": [] and ['))
    (shown.parent / "__pycache__/shown.cpython-311.pyc").unlink()


@pytest.mark.parametrize(("name", "harm", "code"), [(DEAD, never_starts, "CG-6008"), (BLIND, sees_nothing, "CG-6186")])
def test_a_release_that_does_not_prove_itself_goes_back_by_itself(
    machine: Machine, name: str, harm: Callable[[Path], None], code: str
) -> None:
    """Both lie on the box already, so that nothing is fetched."""
    sent = "/var/lib/citygate/releases"
    machine.sh(f"cp -a {sent}/{GOOD} {sent}/{name}")
    tree = machine.root / sent[1:] / name
    said_by = tree / "lib/python3.11/site-packages/gateway/__init__.py"
    said_by.write_text(said_by.read_text().replace(GOOD, name))
    (said_by.parent / "__pycache__/__init__.cpython-311.pyc").unlink()
    harm(tree)

    said = pushed(machine, name)

    assert (said["state"], said["running"], said["code"]) == ("rolled back", GOOD, code)
    assert said["error"] != said["error_ko"]
    assert machine.sh("readlink /opt/citygate/current") == f"{sent}/{GOOD}"
    more_arrives(machine)


def test_a_configuration_of_a_technician_is_tried_and_kept_or_refused(machine: Machine) -> None:
    before = pid(machine, FIELD), pid(machine, UPLINK)
    new = machine.root / "srv/new.toml"
    new.write_text(SITE.replace("period_s = 0.5", "period_s = 0.4"))
    said = json.loads(machine.sh("citygate configure apply /srv/new.toml --by Kim --json"))
    assert (said["state"], said["by"]) == ("Kept", "Kim")
    new.write_text(BROKEN)
    refused = machine.ran("citygate configure apply /srv/new.toml --by Kim --json")
    assert (refused.returncode, "perod_s" in refused.stderr) == (1, True)

    new.write_text(SITE)
    new.chmod(0o644)
    other = machine.ran("runuser -u citygate-uplink -- citygate configure apply /srv/new.toml --by Kim --json")
    assert (other.returncode, "CG-5194" in other.stderr) == (1, True), other.stderr

    assert json.loads(machine.sh("citygate configure status --json"))["current"] == said["current"]
    assert "period_s = 0.4" in generation(machine, said["current"])
    more_arrives(machine)
    assert (pid(machine, FIELD), pid(machine, UPLINK)) == before


def test_a_configuration_of_the_center_is_tried_and_kept_or_refused(machine: Machine) -> None:
    before = pid(machine, FIELD), pid(machine, UPLINK)
    push = "citygate configure push cab-7 /srv/cab-7.bundle --control /srv/center.sock --by Lee --json"
    (machine.root / "srv/site.toml").write_text(SITE.replace("window_s = 2.0", "window_s = 3.0"))
    machine.sh("citygate bundle make /srv/site.toml --key /srv/ops.key --out /srv/cab-7.bundle")
    machine.until("the gateway is connected", lambda: "cab-7" in machine.ran(ASK).stdout)
    said = json.loads(machine.sh(push))
    assert (said["state"], said["signed"]) == ("Kept", True)
    replayed = machine.ran(push)
    assert (replayed.returncode, "CG-6146" in replayed.stderr) == (1, True), replayed.stderr
    more_arrives(machine)
    assert (pid(machine, FIELD), pid(machine, UPLINK)) == before
    assert "window_s = 3.0" in generation(machine, said["current"])
    assert (machine.root / "etc/citygate/site.toml").read_text() == SITE


def test_the_panel_is_off_until_it_is_wanted_and_lets_in_whom_root_invites(machine: Machine) -> None:
    assert machine.show("citygate-panel", "ActiveState") == "inactive"
    machine.sh("systemctl enable --now citygate-panel")
    site = "/etc/citygate/site.toml"
    token = json.loads(machine.sh(f"citygate panel invite {site} --for 2h --role metrics --who probe --json"))["token"]
    asked = f"""{PYTHON} -c "import ssl, urllib.request
ask = urllib.request.Request('https://127.0.0.1:8443/health', headers={{'Authorization': 'Bearer {token}'}})
print(urllib.request.urlopen(ask, context=ssl._create_unverified_context()).read().decode())" """
    health = json.loads(machine.sh(asked))
    assert health["gateway"] == "cab-7"
    assert machine.ran(asked.replace(token, "x" * len(token))).returncode != 0
    link = json.loads(machine.sh(f"citygate panel invite {site} --role operate --who Kim --json"))
    assert link["url"].startswith("https://localhost:8443/sign-in#")
    assert machine.sh("stat -c '%U %a' /var/lib/citygate/panel/tokens.json") == "citygate-panel 600"
    before = pid(machine, "citygate-panel")
    machine.sh(f"dpkg -i /srv/citygate_{NEW}_amd64.deb")
    comes_back(machine, "citygate-panel", before)  # an upgrade takes its old program away
    assert json.loads(machine.sh(asked))["gateway"] == "cab-7"


def test_remove_keeps_data_and_purge_takes_all(machine: Machine) -> None:
    machine.sh("systemctl stop center street; dpkg -r citygate")
    assert (machine.root / "etc/citygate/site.toml").read_text() == SITE
    assert (machine.root / "var/lib/citygate/state/spool.db").exists()
    assert (
        machine.sh("find /proc -maxdepth 1 -user citygate-field -o -user citygate-uplink -o -user citygate-panel") == ""
    )
    assert not (machine.root / "usr/bin/citygate").is_symlink()

    machine.sh("dpkg -P citygate")
    left = machine.sh("find / -xdev -name '*citygate*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/srv/*' "
                      "-not -path '/run/*' -not -path '/var/log/*' -not -path '/etc/systemd/system/*.d*'")  # fmt: skip
    assert left == ""
    assert machine.ran("getent passwd citygate-field citygate-uplink citygate-panel").stdout == ""


def pushed(machine: Machine, name: str) -> dict[str, Any]:
    """What the gateway says at the end of a release that the center asked for."""
    machine.until("the gateway is connected", lambda: "cab-7" in machine.ran(ASK).stdout)
    done = machine.ran(
        f"citygate release push cab-7 --release {name} --by kim --control /srv/center.sock --wait --json"
    )
    assert done.returncode in (0, 2), done.stderr + machine.journal()
    return dict(json.loads(done.stdout)["cab-7"])


def generation(machine: Machine, number: int) -> str:
    return machine.sh(f"cat /var/lib/citygate/state/configuration/{number}/site.toml")


def ask(machine: Machine, name: str) -> None:
    """As the sending half does: a file of its own, put in place at once."""
    folder = "/var/lib/citygate/releases"
    machine.sh(f"runuser -u citygate-uplink -- sh -c 'umask 022; echo {name} > {folder}/.asked; "
               f"mv {folder}/.asked {folder}/request'")  # fmt: skip
    machine.until("the request is taken", lambda: not (machine.root / folder[1:] / "request").exists())
    machine.until("it is answered", lambda: machine.show("citygate-switch.service", "ActiveState") == "inactive")
