"""Documents as the control plane answers them, for the fake that answers in its place."""

from quarterdeck.model.steps import PHASES

MESSAGES = (
    "3 namespaces",
    "revision 1",
    "probe 0.6 ms",
    "2 links open",
    "2 of 2 replicas answering",
    "log lines arriving",
    "11 of 11 probes",
)


def phases(done, then="pending"):
    """The first `done` phases done, the next one in state `then`."""
    states = ["done"] * done + [then] + ["pending"] * 7
    return [
        {
            "name": name,
            "status": states[n],
            "seconds": 0.1 * (n + 1) if states[n] == "done" else None,
            "message": MESSAGES[n] if states[n] == "done" else "",
        }
        for n, name in enumerate(PHASES)
    ]


def status(done=7, then="pending", *, revision=1, failure=None):
    ready = done == 7
    return {
        "apiVersion": "quarterdeck.dev/v1alpha1",
        "kind": "Status",
        "system": "triage",
        "ready": ready,
        "sentence": "agents: 2 of 2 ready" if ready else "agents: 0 of 2 ready, starting 2",
        "phases": phases(done, then),
        "readiness": {"score": 38, "points": [], "next": ["qd validate --deep, +4"]},
        "agents": {"ready": 2 if ready else 0, "desired": 2},
        "capacity": {"ready": 2, "desired": 2, "max": 4},
        "validation": [{"name": "links carry messages", "status": "passed", "evidence": "4 ms", "age_seconds": 3.0}],
        "failure": failure,
        "engine": "local",
        "revision": revision,
        "weakenings": ["unsandboxed", "cgroup v1"],
        "url": "http://127.0.0.1:7410",
        "limits": {"journal": {"records": 12, "limit": 1000}},
        "read_only": False,
    }


FAILURE = {
    "phase": "agent_cluster_deployment",
    "step": "ApplyWorkload",
    "target": "analysts/analyst",
    "cause": "0 of 2 answering: ImportError: No module named 'pandas' (agents.py:4)",
    "details": "6 replicas of other agents are running.",
    "completed": list(PHASES[:4]),
    "resume": "resumes at phase 5",
}
REPLICAS = [
    {
        "name": f"analysts/analyst-{n}",
        "cluster": "analysts",
        "agent": "analyst",
        "state": state,
        "reason": "",
        "pid": 100 + n,
        "incarnation": 1,
        "restarts": n,
        "revision": "3f9c",
        "since": "2026-11-24T16:12:01.250Z",
        "last_exit": {"code": None, "signal": 9, "oom": False, "hang": False, "at": "2026-11-24T16:12:01Z"} if n else None,
    }
    for n, state in enumerate(("ready", "starting"))
]
STEPS = [
    {"phase": "infrastructure_provisioning", "action": "add", "target": "analysts", "reason": "not there yet"},
    {"phase": "service_mesh_configuration", "action": "add", "target": "analysts->reporting", "reason": "not open"},
    {"phase": "agent_cluster_deployment", "action": "add", "target": "analysts/analyst", "reason": "2 replicas"},
]


def plan(steps=STEPS):
    count = {action: sum(step["action"] == action for step in steps) for action in ("add", "change", "remove")}
    return {
        "apiVersion": "quarterdeck.dev/v1alpha1",
        "kind": "Plan",
        "system": "triage",
        "index": 41,
        "steps": steps,
        "summary": count,
        "warnings": [],
    }


def applied(number=1, steps=STEPS, *, created=True):
    """The answer to an apply."""
    return {
        "kind": "Revision",
        "system": "triage",
        "number": number,
        "digest": "d",
        "code": "c",
        "created": created,
        "index": 42,
        "warnings": [],
        "plan": plan(steps),
    }


def record(seq):
    return {
        "seq": seq,
        "at": "2026-11-24T16:12:01.250Z",
        "actor": "uid:0",
        "via": "socket",
        "on_behalf_of": "",
        "verb": "apply",
        "target": "triage",
        "reason": "first",
        "before": None,
        "after": None,
        "outcome": "done",
        "evidence": None,
        "prev": "a",
        "hash": "b",
    }


def listed(items):
    return {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "List", "items": items}


def refused(kind, http, exit_code, message="no", **more):
    return http, {"error": {"kind": kind, "message": message, "hint": "", "where": "", "problems": [], "exit_code": exit_code, **more}}
