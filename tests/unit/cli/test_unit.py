"""The unit is one that systemd accepts."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quarterdeck.cli.unit import Unit


def unit(home="/srv/fleet", **more):
    return Unit(Path(home), Path(sys.executable), "55ba1543cb", **more)


def test_it_keeps_the_fleet_up_and_stops_it_with_proof():
    text = unit().text
    assert f"ExecStart={sys.executable} -m quarterdeck.cli.main --home /srv/fleet service run\n" in text
    assert " down --yes --within 30s\n" in text
    assert "Restart=on-failure\n" in text
    assert "KillMode=process\n" in text  # the keeper's end is not the agents' end
    assert "Delegate=yes\n" in text
    assert "WantedBy=default.target\n" in text
    assert "User=" not in text


def test_a_unit_of_the_machine_runs_as_the_owner_of_the_home():
    text = unit(user="ada").text
    assert "User=ada\n" in text
    assert "WantedBy=multi-user.target\n" in text


def test_only_variables_that_shape_a_control_plane_stand_in_it():
    text = unit(environ={"QUARTERDECK_PORT": "7500", "AWS_SECRET_ACCESS_KEY": "hunter2", "QUARTERDECK_BIND": ""}).text
    assert re.findall(r"^Environment=(\w+)", text, re.MULTILINE) == ["QUARTERDECK_PORT", "PATH"]
    assert "hunter2" not in text


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("home", ["/srv/fleet", '/srv/my $HOME 100%/it\'s "here"'])
def test_systemd_accepts_it_and_reads_the_home_as_written(tmp_path, home):
    made = unit(home, user="root", environ={"QUARTERDECK_TLS_CERT": f"{home}/cert.pem"})
    file = tmp_path / made.name
    file.write_text(made.text)
    ran = subprocess.run(["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_name_is_one_for_each_home():
    assert unit().name == "quarterdeck-55ba1543cb.service"
