"""Pages that change a machine, on one that is thrown away: its systemd, its loss of power, its versions of Quarterdeck."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/how-to"
OLD, NEW = "0.1.0", "0.1.1"
RELEASED = f"""
git config --global --add safe.directory '*' && git config --global user.name release && git config --global user.email release@example.com
rm -rf .git && git init -q -b main && git add -A && git commit -qm {OLD}
git clone -q --bare . /srv/quarterdeck.git && git remote add origin /srv/quarterdeck.git && git fetch -q && git branch -q -u origin/main
git clone -q /srv/quarterdeck.git /srv/next
sed -i 's/"{OLD}"/"{NEW}"/' /srv/next/pyproject.toml /srv/next/src/quarterdeck/version.py
git -C /srv/next commit -qam {NEW} && git -C /srv/next push -q
"""
WHEELS = f"""
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/srv/wheels PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
for tree in {ROOT} /srv/next; do pip wheel -q --no-deps --no-build-isolation -w /srv/wheels $tree || exit; done
pip uninstall -q -y quarterdeck && pip install -q quarterdeck=={OLD}
"""


def done(shell, command):
    printed = shell.run(command)
    assert shell.code == 0, f"$ {command}\n{printed}"
    return printed


def document(shell, command):
    return json.loads(done(shell, f"{command} -o json 2>/dev/null"))


@pytest.fixture
def server(documents):
    """A machine with the example's files, and somebody who is logged in."""
    with documents.place(example=True, on=("server", 1)) as shell:
        shell.environment["XDG_RUNTIME_DIR"] = shell.machine.log_in()
        yield shell


@pytest.fixture
def fleet(server):
    """The example, deployed there."""
    done(server, "qd up")
    return server


def test_a_fleet_outlives_the_session_that_started_it_and_is_reached_from_the_next_and_from_none(fleet):
    before = {replica["pid"] for replica in document(fleet, "qd get replicas")["items"]}
    fleet.machine.log_out()
    without = fleet.environment.pop("XDG_RUNTIME_DIR")
    assert {replica["pid"] for replica in document(fleet, "qd get replicas")["items"]} == before, "as cron or ssh COMMAND would ask"
    assert fleet.machine.log_in() == without
    fleet.environment["XDG_RUNTIME_DIR"] = without
    done(fleet, "pkill -9 -f '[q]uarterdeck.cli.main --home .* serve' && qd wait --for ready --timeout 30s")
    assert {replica["pid"] for replica in document(fleet, "qd get replicas")["items"]} == before
    assert "left    nothing" in done(fleet, "qd down --yes")


def test_a_fleet_starts_with_the_machine_by_a_unit_of_a_user_and_by_one_of_the_machine(documents, fleet):
    verified = {}
    for command, _ in documents.steps(PAGES / "start-with-the-machine.md", fleet):
        if command.startswith("loginctl"):
            done(fleet, "qd journal head -o json > before.json")
            fleet.machine.power_off()
            fleet.machine.boot()
        elif command == "qd validate":
            verified["own"] = done(fleet, "qd journal verify --head before.json")
    done(fleet, "qd --home /srv/fleet journal head -o json > before.json")
    fleet.machine.power_off()
    fleet.machine.boot()
    done(fleet, "qd --home /srv/fleet wait --for ready --timeout 30s")
    verified["the machine's"] = done(fleet, "qd --home /srv/fleet journal verify --head before.json")
    assert [kept for kept, printed in verified.items() if "✔ verified" not in printed] == []
    assert "active" in done(fleet, "qd --home /srv/fleet service status --system-wide")


@pytest.mark.parametrize("by", ["a_checkout", "a_wheel"])
def test_an_upgrade_changes_the_version_and_keeps_everything_else(documents, server, by):
    checkout = server.at(ROOT)
    done(checkout, RELEASED)
    if by == "a_wheel":
        done(checkout, WHEELS)
    done(server, "qd up && qd scale analysts/analyst 3 --reason 'for the night'")
    versions = []
    for command, printed in documents.steps(PAGES / "upgrade.md", server, **{by: checkout}):
        if command == "qd version":
            versions.append(re.findall(r"^(?:qd|control plane) ([\d.]+)", printed, re.MULTILINE))
    assert versions == [[OLD, OLD], [NEW, NEW]]
    assert "for the night" in done(server, "qd get changes")
