"""A refresh token in a file: `qd` and the Python clients trade it once an hour, keep what they got, and say so when it has ended."""

import asyncio
import json

import pytest

from quarterdeck.client.blocking import Client
from quarterdeck.client.concurrent import AsyncClient
from quarterdeck.errors import Forbidden


@pytest.fixture
def away(deployed, tmp_path, monkeypatch):
    """(qd as on another machine, url, the file of its refresh token, where access tokens are kept)."""
    secret, url = tmp_path / "token", deployed.status()["url"]
    secret.touch(mode=0o600)
    secret.write_text(deployed.qd("token", "create", "--quiet", "--role", "operator", "--refresh", "--user", "ada").out)
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "QUARTERDECK_HOME": ""}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert deployed.qd("context", "add", "far", "--url", url, "--token-file", secret, **environ).code == 0
    return lambda *words: deployed.qd("--context", "far", *words, **environ), url, secret, tmp_path / "cache/quarterdeck/access"


def tokens(kept):
    """Those that are kept, without the locks beside them."""
    return [file for file in kept.iterdir() if not file.suffix]


def uses(deployed, secret):
    """The access tokens that were given for it."""
    (found,) = [t for t in deployed.items("tokens") if t["id"] == secret.read_text().split("_")[1]]
    return found["used"]


def test_one_trade_serves_many_commands_and_both_clients(deployed, away):
    qd, url, secret, kept = away
    assert qd("status", "-o", "json").json["url"] == url
    (file,) = tokens(kept)
    first = json.loads(file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret.read_text().strip() not in file.read_text()
    held = qd("hold", "core/worker", "--reason", "from afar", "-o", "json")
    assert held.json["actor"].startswith("ada (token:"), held
    assert Client(url=url, token_file=secret).submit("core/worker", {"n": 1}, key="by the client").created

    async def by_the_other():
        async with AsyncClient(url=url, token_file=secret) as client:
            return await client.submit("core/worker", {"n": 1}, key="by the client")

    assert asyncio.run(by_the_other()).created is False
    assert json.loads(file.read_text()) == first, "nobody traded again"
    assert uses(deployed, secret) is not None


def test_an_old_one_is_traded_anew_and_a_file_of_others_is_not_believed(away):
    qd, _, _, kept = away
    assert qd("status").code == 0
    (file,) = tokens(kept)
    first = json.loads(file.read_text())
    file.write_text(json.dumps({**first, "until": 0}))
    assert qd("status").code == 0
    second = json.loads(file.read_text())
    assert second["token"] != first["token"]
    file.write_text(json.dumps({"token": "qd_00000000_planted", "until": 9e9}))
    file.chmod(0o666)
    assert qd("status").code == 0
    file.write_text("{")
    file.chmod(0o600)
    assert qd("status").code == 0


def test_where_nothing_can_be_kept_each_command_trades_for_itself(deployed, away, tmp_path):
    qd, _, _, kept = away
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert qd("status").code == 0
    assert not kept.exists()


def test_a_revoked_one_is_told_and_another_in_its_file_counts_at_once(deployed, away):
    qd, url, secret, kept = away
    assert qd("status").code == 0
    assert deployed.qd("token", "revoke", secret.read_text().split("_")[1]).code == 0
    refused = qd("status")
    assert refused.code == 4, refused
    assert str(secret) in refused.err
    assert "qd token create" in refused.err
    assert tokens(kept) == [], "what was refused is not kept"
    again = qd("status")
    assert (again.code, str(secret) in again.err) == (4, True), again
    with pytest.raises(Forbidden):
        Client(url=url, token_file=secret).submit("core/worker", {"n": 1})
    secret.write_text(deployed.qd("token", "create", "--quiet", "--role", "viewer", "--refresh").out)
    assert qd("status").code == 0
