"""Every verb of `qd`: its name, the function that carries it out, and one line of help. Plain data, so that `qd --help` imports nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Effect = Literal["reads", "changes", "asks"]
"""Whether a verb changes what runs. `asks`: it does, and has its own question before it does."""
Reach = Literal["nothing", "home", "system", "systems"]
"""What a verb is about: no control plane at all, a whole one, one system of it, which has to be named where several run, or those of all
systems where none is named."""


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
    effect: Effect = "reads"
    reach: Reach = "home"
    fails: int | None = None
    """The exit code of every error, wrong usage included; None: each error has its own."""


FIRST: Final = "Most used"
_JOURNAL: Final = (
    Verb("head", "journal:head", "The end of the journal, to be kept elsewhere as proof", ""),
    Verb("export", "journal:export", "The whole journal as JSON lines", ""),
    Verb("verify", "verify:verify", "Check a journal offline for changed, removed, reordered or cut off records", ""),
)

_API: Final = (Verb("openapi", "reference:openapi", "Print the OpenAPI document of the control plane", "", reach="nothing"),)

_CONTEXT: Final = (
    Verb("show", "context:show_", "The context that is used, and why", ""),
    Verb("list", "context:list_", "Every context", "", reach="nothing"),
    Verb("use", "context:use", "Use a context from now on", "", reach="nothing"),
    Verb("add", "context:add", "Give a home or a URL a name", ""),
    Verb("remove", "context:remove", "Forget a name; what it leads to stays", "", reach="nothing"),
)
_SERVICE: Final = (
    Verb("install", "service:install", "Write the unit and start it", "", effect="changes"),
    Verb("uninstall", "service:uninstall", "Stop and remove the unit", "", effect="changes"),
    Verb("status", "service:status", "Whether it is installed and runs", ""),
    Verb("run", "service:run", "What the unit runs: keep the control plane up, in the foreground", ""),
)

_TOKEN: Final = (
    Verb("create", "token:create", "Make a token and print its secret once", "", effect="changes"),
    Verb("list", "token:list_", "Tokens that work", ""),
    Verb("revoke", "token:revoke", "End a token at once", "", effect="changes"),
)

_STOP: Final = (
    Verb("fleet", "stop:fleet", "Stop everything", "", effect="changes", reach="systems"),
    Verb("cluster", "stop:cluster", "Stop every agent of a cluster", "", effect="changes", reach="system"),
    Verb("agent", "stop:agent", "Stop every replica of an agent", "", effect="changes", reach="system"),
    Verb("task", "stop:task", "Cancel a task and all below it, whoever works on it", "", effect="changes", reach="system"),
)

_START: Final = (
    Verb("fleet", "stop:start_fleet", "End the stop of everything", "", effect="changes", reach="systems"),
    Verb("cluster", "stop:start_cluster", "End the stop of a cluster", "", effect="changes", reach="system"),
    Verb("agent", "stop:start_agent", "End the stop of an agent", "", effect="changes", reach="system"),
)

_MESSAGE: Final = (
    Verb("list", "message:list_", "Durable messages that the database keeps", "", reach="systems"),
    Verb("get", "message:get", "Everything about one message", ""),
    Verb("retry", "message:retry", "Send a dead message again", "", effect="changes"),
)

_BUDGET: Final = (Verb("resume", "budget:resume", "Let work go on that cost too much too fast", "", effect="changes", reach="system"),)

_TASK: Final = (
    Verb("submit", "task:submit", "Give an agent work that is accounted for", "", effect="changes", reach="system"),
    Verb("get", "task:get", "Everything about one task; --tree with all below it", "", reach="system"),
    Verb("list", "task:list_", "Tasks, by state, target and key", "", reach="systems"),
    Verb("cancel", "task:cancel", "Have a task and all below it given up", "", effect="changes", reach="system"),
    Verb("retry", "task:retry", "Send a dead letter or a failed task back into the queue", "", effect="changes", reach="system"),
    Verb("fork", "task:fork", "Run a task that has ended again, as a new one, from one of its steps", "", effect="changes", reach="system"),
    Verb("resolve", "task:resolve", "Say what became of an effect whose outcome is unknown", "", effect="changes", reach="system"),
    Verb("answer", "task:answer", "Answer what a task asks", "", effect="changes", reach="system"),
    Verb("questions", "task:questions", "What waits for an answer by a human", "", reach="systems"),
    Verb("history", "task:history", "What happened to a task, in order", "", reach="system"),
)

VERBS: Final = (
    Verb("up", "up:up", "Start everything, deploy FILE and show the seven phases until Ready", FIRST, effect="changes"),
    Verb("plan", "plan:plan", "Show what applying FILE would change; --out PLAN keeps the plan", FIRST, fails=1),
    Verb("apply", "plan:apply", "Apply FILE, or a plan that was kept, and return at once", FIRST, effect="changes"),
    Verb("status", "status:status", "One screen: phases, replicas, readiness, limits", FIRST, reach="system"),
    Verb("get", "get:get", "List systems, clusters, agents, replicas, links, tasks, questions, effects, changes, …", FIRST, reach="system"),
    Verb("top", "top:top", "What the fleet does now: processor, memory, messages; the busiest first", FIRST, reach="system"),
    Verb("explain", "explain:explain", "Why a thing is as it is; or what spec.clusters or E1201 means", FIRST, reach="system"),
    Verb("logs", "logs:logs", "Output of replicas; -f follows", FIRST, reach="system"),
    Verb("journal", "journal:journal", "What happened, in order; -f follows", FIRST, _JOURNAL, reach="systems"),
    Verb("scale", "change:scale", "Set the number of replicas of an agent", FIRST, effect="changes", reach="system"),
    Verb("open", "link:open_link", "Open the dashboard in a browser, logged in", FIRST, reach="systems"),
    Verb("down", "down:down", "Stop everything and prove that nothing is left", FIRST, effect="asks"),
    Verb("history", "history:history", "The revisions of a system", "Deploy", reach="system"),
    Verb("rollback", "history:rollback", "Return to an earlier revision, code included", "Deploy", effect="changes", reach="system"),
    Verb("wait", "wait:wait", "Wait until the system or a replica is in a state", "Deploy", reach="system"),
    Verb("validate", "validate:validate", "Prove again that the whole system works", "Deploy", reach="system"),
    Verb("restart", "change:restart", "Replace the replicas of an agent one by one", "Change", effect="changes", reach="system"),
    Verb("quarantine", "change:quarantine", "Keep a replica for inspection, without traffic", "Change", effect="changes", reach="system"),
    Verb("release", "change:release", "End the holds and quarantines of a target", "Change", effect="changes", reach="system"),
    Verb("hold", "change:hold", "Keep all automation off a target", "Change", effect="changes", reach="system"),
    Verb("stop", "stop:stop", "Stop a fleet, cluster, agent or task now, and prove it", "Change", _STOP, alone=False),
    Verb("start", "stop:start", "Let what was stopped run again", "Change", _START, alone=False),
    Verb("revert", "change:revert", "Take a change back", "Change", effect="changes"),
    Verb("ask", "ask:ask", "Send one request to an agent and print the answer", "Work", effect="changes", reach="system"),
    Verb("attach", "attach:attach", "See what an agent prints, and ask it what you type", "Work", effect="changes", reach="system"),
    Verb("task", "task:task", "Give work, see what became of it, answer what it asks", "Work", _TASK, alone=False),
    Verb("message", "message:message", "Durable messages, and those that nobody could handle", "Work", _MESSAGE, alone=False),
    Verb("budget", "budget:budget", "Let work go on that was held back; qd get budgets shows them", "Work", _BUDGET, alone=False),
    Verb("token", "token:token", "Tokens for people and programs: create, list, revoke", "Work", _TOKEN, alone=False),
    Verb("api", "reference:api", "The API's own description", "Reference", _API, alone=False, reach="nothing"),
    Verb("schema", "reference:schema", "Print the JSON Schema of a spec, for editors", "Reference", reach="nothing"),
    Verb("init", "init:init", "Write a project that runs at once", "Machine", reach="nothing"),
    Verb("doctor", "doctor:doctor", "What is wrong with this machine or home, and how to mend it", "Machine"),
    Verb("context", "context:show_", "Which control plane is used; list, use, add, remove", "Machine", _CONTEXT, reach="nothing"),
    Verb("login", "login:login", "Get into a control plane elsewhere, by a code that a browser confirms", "Machine", reach="nothing"),
    Verb("logout", "login:logout", "End what qd login got, there and here", "Machine"),
    Verb("service", "service:service", "Start with the machine: a systemd unit", "Machine", _SERVICE, alone=False),
    Verb("support-bundle", "bundle:support_bundle", "One file for whoever helps you, without secrets", "Machine"),
    Verb("completion", "reference:completion", "Print the completion script of a shell", "Reference", reach="nothing"),
    Verb("man", "man:man", "The manual page, of the command or of a verb", "Reference", reach="nothing"),
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
    ("-o, --output FORMAT", "table, wide, json, yaml, name or jsonpath=PATH"),
    ("-q, --quiet", "data and errors only"),
    ("--context NAME", "a context of qd context list (QUARTERDECK_CONTEXT)"),
    ("-y, --yes", "do not ask"),
    ("--no-input", "never ask: fail where an answer is needed"),
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
        *columns(list(EXAMPLES), "  $ "),
    ]
    for title, rows in (*sections, ("Options of every verb", list(SHARED))):
        lines += ["", f"{title}:", *columns(rows, "  ")]
    return "\n".join([*lines, "", "Next: qd VERB --help · qd explain spec · exit codes: 0 ok, 1 error, 2 usage or changes pending,",
                      "3 not found, 4 denied, 5 timeout, not ready or unknown, 130 interrupted"])  # fmt: skip


def columns(rows: list[tuple[str, str]], margin: str) -> list[str]:
    """Lines of two columns, the second one aligned."""
    width = max(len(left) for left, right in rows if right)
    return [f"{margin}{left:<{width}}  {right}".rstrip() for left, right in rows]
