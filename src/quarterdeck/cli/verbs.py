"""Every verb of `qd`: its name, the function that carries it out, and one line of help. Plain data, so that `qd --help` imports nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb, found as `module:function` below this package. `parts` are verbs below it, e.g. `qd journal head`."""

    name: str
    place: str
    summary: str
    group: str
    parts: tuple[Verb, ...] = ()
    alone: bool = True
    """Whether the verb itself does something without a part."""


FIRST: Final = "Most used"
_JOURNAL: Final = (
    Verb("head", "journal:head", "The end of the journal, to be kept elsewhere as proof", ""),
    Verb("export", "journal:export", "The whole journal as JSON lines", ""),
    Verb("verify", "verify:verify", "Check a journal offline for changed, removed, reordered or cut off records", ""),
)

_API: Final = (Verb("openapi", "reference:openapi", "Print the OpenAPI document of the control plane", ""),)

VERBS: Final = (
    Verb("up", "up:up", "Start everything, deploy FILE and show the seven phases until Ready", FIRST),
    Verb("plan", "plan:plan", "Show what applying FILE would change", FIRST),
    Verb("apply", "plan:apply", "Apply FILE and return at once; --index N refuses when the world has moved", FIRST),
    Verb("status", "status:status", "One screen: phases, replicas, readiness, limits", FIRST),
    Verb("get", "get:get", "List systems, clusters, agents, replicas, links, changes, conditions, revisions", FIRST),
    Verb("explain", "explain:explain", "Why a thing is as it is; or the meaning of a field: spec.clusters", FIRST),
    Verb("logs", "logs:logs", "Output of replicas; -f follows", FIRST),
    Verb("journal", "journal:journal", "What happened, in order; -f follows", FIRST, _JOURNAL),
    Verb("scale", "change:scale", "Set the number of replicas of an agent", FIRST),
    Verb("rollback", "history:rollback", "Return to an earlier revision, code included", FIRST),
    Verb("open", "link:open_link", "Print a link that logs a browser in to the dashboard", FIRST),
    Verb("down", "down:down", "Stop everything and prove that nothing is left", FIRST),
    Verb("history", "history:history", "The revisions of a system", "Deploy"),
    Verb("wait", "wait:wait", "Wait until the system or a replica is in a state", "Deploy"),
    Verb("validate", "validate:validate", "Prove again that the whole system works", "Deploy"),
    Verb("restart", "change:restart", "Replace the replicas of an agent one by one", "Change"),
    Verb("quarantine", "change:quarantine", "Keep a replica for inspection, without traffic", "Change"),
    Verb("release", "change:release", "End the quarantine of a replica", "Change"),
    Verb("hold", "change:hold", "Keep all automation off a target", "Change"),
    Verb("revert", "change:revert", "Take a change back", "Change"),
    Verb("ask", "ask:ask", "Send one request to an agent and print the answer", "Work"),
    Verb("api", "reference:api", "The API's own description", "Reference", _API, alone=False),
    Verb("schema", "reference:schema", "Print the JSON Schema of a spec, for editors", "Reference"),
    Verb("completion", "reference:completion", "Print the completion script of a shell", "Reference"),
    Verb("version", "version:version", "Version of this command and of the control plane", "Reference"),
)  # fmt: skip

EXAMPLES: Final = (
    ("qd up", "deploy ./quarterdeck.yaml and show it until Ready"),
    ("qd status", "is it well?"),
    ("qd explain analysts/analyst-1", "why is this as it is?"),
    ("qd logs -f analysts/analyst", "follow the output of an agent"),
    ('qd scale analysts/analyst 5 --reason "load test" --until 18:00', ""),
    ("qd down", "stop everything; nothing stays behind"),
)

SHARED: Final = (
    ("--home DIR", "the state folder (QUARTERDECK_HOME)"),
    ("-s, --system NAME", "the system, where several run"),
    ("-o, --output FORMAT", "table, wide, json, yaml or name"),
    ("-q, --quiet", "data and errors only"),
)


def find(name: str, among: tuple[Verb, ...] = VERBS) -> Verb | None:
    """The verb of that name."""
    return next((verb for verb in among if verb.name == name), None)


def overview() -> str:
    """What `qd --help` prints: examples first, a dozen verbs, the rest in groups, the options of every verb."""
    groups = dict.fromkeys(verb.group for verb in VERBS)
    sections = [(group, [(verb.name, verb.summary) for verb in VERBS if verb.group == group]) for group in groups]
    lines = [
        "Usage: qd VERB [ARGUMENTS]",
        "",
        "Deploy and operate a fleet of AI agents.",
        "",
        "Examples:",
        *_columns(list(EXAMPLES), "  $ "),
    ]
    for title, rows in (*sections, ("Options of every verb", list(SHARED))):
        lines += ["", f"{title}:", *_columns(rows, "  ")]
    return "\n".join([*lines, "", "Next: qd VERB --help · qd explain spec · exit codes: 0 ok, 1 error, 2 usage or changes pending,",
                      "3 not found, 4 denied, 5 timeout, not ready or unknown, 130 interrupted"])  # fmt: skip


def _columns(rows: list[tuple[str, str]], margin: str) -> list[str]:
    width = max(len(left) for left, right in rows if right)
    return [f"{margin}{left:<{width}}  {right}".rstrip() for left, right in rows]
