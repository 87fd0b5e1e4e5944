"""Pages about a control plane on another machine, with two: by a real ssh, a real certificate, and a browser that is logged in."""

import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests import machines

HERE = Path(__file__).parent
PAGES = HERE.parents[1] / "docs/how-to"
SERVER, FLEET = "server.example.com", "fleet.example.com"
CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=fleet.example.com"
    " -addext subjectAltName=DNS:fleet.example.com -keyout key.pem -out cert.pem"
)
UP = "qd up --bind 0.0.0.0 --tls-cert cert.pem --tls-key key.pem --public-url https://fleet.example.com:7410"


def done(shell, command):
    printed = shell.run(command)
    assert shell.code == 0, f"$ {command}\n{printed}"
    return printed


def lets_in(server, laptop):
    """Keys made now for one who may log in at the server by ssh, and for the server itself, which is known."""
    keys, person = server.folder.parent / "keys", laptop.folder.parent / ".ssh"
    for folder in (keys, person):
        folder.mkdir(mode=0o700)
    for key in (keys / "host", person / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    shutil.copy(person / "id_ed25519.pub", keys / "person.pub")
    (person / "known_hosts").write_text(f"{SERVER},{FLEET} {(keys / 'host.pub').read_text()}")
    argv = [*server.through, sys.executable, HERE / "ssh_server.py", keys]
    return subprocess.Popen(argv, env=server.environment, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


@pytest.fixture
def pair(documents):
    """Two machines on one cable: `server`, which the other reaches by ssh, and `laptop`, whose browser keeps `cookies`."""
    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh")
    with ExitStack() as stack:
        server = stack.enter_context(documents.place(example=True, on=("server", 1)))
        laptop = stack.enter_context(documents.place(on=("laptop", 2)))
        machines.connect(server.machine, laptop.machine, **{name.replace(".", "_"): server.machine for name in (SERVER, FLEET)})
        daemon = lets_in(server, laptop)
        stack.callback(daemon.communicate)
        assert daemon.stdout.readline() == "listens\n"
        browser = shlex.join([sys.executable, str(HERE / "browser.py"), str(laptop.folder.parent / "cookies")])
        yield SimpleNamespace(server=server, laptop=laptop, browser=browser)


def reads(pair, url):
    """What the browser of the laptop shows at a link."""
    return done(pair.laptop, f"{pair.browser} {shlex.quote(url)}")


def test_the_dashboard_is_reached_through_ssh_and_by_a_certificate(documents, pair):
    opened = []
    for command, printed in documents.steps(PAGES / "run-behind-tls.md", pair.server, your_machine=pair.laptop):
        if command.endswith("qd open"):
            opened.append(reads(pair, printed.strip()))
        elif "--tls-cert" in command:
            (pair.laptop.folder / "cert.pem").write_text((pair.server.folder / "cert.pem").read_text())
            (link,) = re.findall(r"https://\S+code=qd_\S+", printed)
            opened.append(done(pair.laptop, f"curl --silent --show-error --fail --location --cookie-jar jar --cacert cert.pem '{link}'"))
    assert len(opened) == 2
    assert all("triage" in page for page in opened)
    assert pair.laptop.machine.run("sh", "-c", "pgrep -x ssh || true") == "", "the tunnel is ended"


def test_a_control_plane_elsewhere_is_named_logged_in_to_and_asked(documents, pair):
    server, laptop = pair.server, pair.laptop
    done(server, f"{CERTIFICATE} 2>&1 && {UP}")
    trusted = "/etc/ssl/certs/$(openssl x509 -noout -hash -in fleet.pem).0"  # as the certificate of an authority of one's own
    done(laptop, f"ssh {FLEET} cat {server.folder}/cert.pem > fleet.pem && cp fleet.pem {trusted}")
    link = done(laptop, f"ssh {FLEET} qd open --user ada --role operator --print")
    assert "/login" not in reads(pair, link.strip()).splitlines()[0]
    laptop.environment["BROWSER"] = f"{pair.browser} %s"
    shown = dict(documents.steps(PAGES / "name-control-planes.md", laptop))
    assert "triage is ready" in shown["qd status"]
    assert "triage is ready" in shown["qd --context builds status"]
    assert "qd login on laptop" in done(server, "qd token list --user ada")
