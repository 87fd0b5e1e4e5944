"""A secret that an agent lets slip in every way it can is in nothing that the platform keeps, shows or hands on."""

import base64
import json
from urllib.parse import quote

CANARY = 'k4n"ari\\enföÖ/vogel+17'
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIKq1\n-----END PRIVATE KEY-----\n"
SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: slips}
spec:
  clusters:
    c:
      agents:
        talker: {run: "talker:agent", secrets: {API_KEY: "env:CANARY", CERT: "file:../key.pem"}, rollout: {drain: 2s}, restart: {budget: 2}}
        friend: {run: "friend:agent"}
"""
FRIEND = """\
from quarterdeck import Agent, Context

agent = Agent("friend")


@agent.on("pass")
async def ask(ctx: Context) -> str:
    try:
        return await ctx.ask("c/talker", "fail")
    except Exception as error:
        print("told:", error)
        return str(error)
"""
TALKER = """\
import base64, json, logging, os, sys
from urllib.parse import quote

from quarterdeck import Agent, Context, Terminal

agent = Agent("talker")
KEY = os.environ["API_KEY"]
print("imported with", KEY, flush=True)


@agent.on("say")
def say(ctx: Context) -> None:
    for text in (KEY, json.dumps({"key": KEY}), json.dumps({"key": KEY}, ensure_ascii=False), repr(KEY), quote(KEY), KEY.encode().hex()):
        print("plain", text)
    for before in ("", "u", "us", "user:"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            print("coded", encode((before + KEY + "!").encode()).decode(), file=sys.stderr)
    print(os.environ["CERT"])
    sys.stdout.write("x" * 16380 + KEY + "y" * 40000 + KEY + "\\\\n")
    sys.stdout.flush()
    ctx.log.info("logged", key=KEY)
    logging.getLogger("other").error("the library says %s", KEY)


@agent.on("fail")
def fail() -> None:
    raise Terminal(f"401 for {KEY}")


@agent.task()
async def work(what: str, ctx: Context) -> str:
    ctx.progress(0.5, f"with {KEY}")
    if what == "effect":
        await ctx.effect("call", lambda: refuse())
    raise Terminal(f"no luck with {KEY} at {base64.b64encode(KEY.encode()).decode()}")


def refuse():
    raise Terminal(f"401 for {KEY}")


@agent.on("die")
def die() -> None:
    sys.stderr.write(f"dying with {KEY}")
    sys.stderr.flush()
    os._exit(3)
"""
BROKEN = TALKER.replace(
    'print("imported with", KEY, flush=True)', 'raise RuntimeError(f"cannot use {KEY}") if os.environ.get("CERT") else 0'
)


def traces(value):
    """Parts of it that no text may have, in bytes."""
    plain = value.encode()
    inner = [base64.b64encode(b"\0" * before + plain)[4 : (before + len(plain)) * 8 // 6 - 1] for before in range(3)]
    urlsafe = [one.replace(b"+", b"-").replace(b"/", b"_") for one in inner]
    quoted = [json.dumps(value)[1:-1].encode(), json.dumps(value, ensure_ascii=False)[1:-1].encode(), repr(value)[1:-1].encode()]
    return {plain, plain.hex().encode(), quote(value, safe="").encode(), *inner, *urlsafe, *quoted}


def test_a_secret_that_slips_out_is_in_nothing_that_is_kept_or_shown(fleet):
    (fleet.folder.parent / "key.pem").write_text(PEM)
    fleet.write(quarterdeck=SPEC, talker=TALKER, friend=FRIEND)
    fleet.up(CANARY=CANARY)
    fleet.ask("c/talker", "say")
    assert "[secret API_KEY]" in fleet.ask("c/friend", "pass")
    for what in ("effect", "work"):
        fleet.qd("task", "submit", "c/talker", "--data", json.dumps(what), "--attempts", 1, "--wait")
    refused = fleet.qd("ask", "c/talker", "fail")
    fleet.qd("ask", "c/talker", "die", "--timeout", "2s")
    fleet.ready()
    fleet.write(talker=BROKEN)
    failed = fleet.qd("up", "--timeout", "20s", CANARY=CANARY)
    assert failed.code != 0
    assert "RuntimeError: cannot use [secret API_KEY]" in failed.out + failed.err

    asked = ("status", "journal", "journal export", "logs -n 1000", "logs -p c/talker", "explain c/talker", "get tasks -o json")
    shown = [failed, refused, *(fleet.qd(*words.split()) for words in asked)]
    tasks = fleet.items("tasks")
    assert {task["state"] for task in tasks} <= {"failed", "dead"}
    assert len(tasks) == 2
    shown += [fleet.qd("task", part, task["id"], "-o", "json") for task in tasks for part in ("get", "history")]
    texts = {f"output {n}": (one.out + one.err).encode() for n, one in enumerate(shown)}
    texts["metrics"] = "\n".join(fleet.client.lines("/metrics")).encode()
    secrets = fleet.home.secrets
    for path in fleet.home.root.rglob("*"):
        if path.is_file() and secrets not in path.parents:
            texts[str(path)] = path.read_bytes()
    assert sum(b"[secret API_KEY]" in text for text in texts.values()) >= 5
    wrong = {(name, trace) for name, text in texts.items() for trace in (*traces(CANARY), b"MC4CAQAwBQYDK2VwBCIEIKq1") if trace in text}
    assert wrong == set()
