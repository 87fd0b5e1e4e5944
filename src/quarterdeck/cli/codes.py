"""What the codes of errors mean: one table, for `qd explain E1201` and docs/reference/errors.md.

A code is that of an error's class (E10…), or a nearer one given where the error is raised. A code that was given out is never given to
something else. The examples are what `qd` really says; a test makes each error of a spec and compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of error: what it means, what `qd` says for example, and what to do."""

    meaning: str
    example: str
    mend: str


GROUPS: Final = {
    "E10": "Any error, by its class",
    "E11": "Reading a spec",
    "E12": "Fields of a spec",
    "E13": "What does not fit together in a spec",
    "E14": "Entry points of agents",
    "E15": "Plans",
    "E16": "Sign-in files",
}
_ONE_SPEC: Final = "Split the spec: several systems run in one home, each from its own file."
KINDS: Final = {
    "E1000": Kind(
        "Something failed that has no nearer kind.",
        "the control plane answered 500: …",
        "Read the message; `qd doctor` looks at what may be wrong.",
    ),
    "E1001": Kind(
        "Something in what was asked for can be mended by whoever asked.",
        "which system? hello, triage",
        "Follow the hint below the message.",
    ),
    "E1002": Kind(
        "The command line makes no sense; nothing was done.",
        "there is no verb 'plann'; did you mean 'plan'?",
        "`qd VERB --help` shows what a verb takes, with examples.",
    ),
    "E1003": Kind("The named thing does not exist.", "there is no file fleet.yaml", "Check the name: `qd get` lists what there is."),
    "E1004": Kind(
        "Whoever asks may not do this.",
        "this needs the role operator, yours is viewer",
        "Ask the owner for a token with the role: `qd token create --role ROLE`.",
    ),
    "E1005": Kind(
        "It did not work now, or nobody knows whether it did.",
        "the engine cannot be asked: no node",
        "Try again in some seconds; `qd status` tells how it stands. After *the outcome is unknown*, look before asking again.",
    ),
    "E1006": Kind(
        "The disk is full or failed: what only reads works, what writes does not.",
        "the store is read-only: No space left on device",
        "Make room; the store writes again by itself. `qd doctor` tells how much is left.",
    ),
    "E1007": Kind(
        "The world has moved since somebody looked, or another holder is in the way.",
        "change 12 has ended already",
        "Look again with the command in the hint, then decide anew.",
    ),
    "E1008": Kind(
        "Trying again cannot help: something that is kept is damaged or was refused for good.",
        "the journal's signing key is damaged: …",
        "Follow the hint; where there is none, `qd support-bundle` packs what a helper needs.",
    ),
    "E1009": Kind(
        "A defect of Quarterdeck: something was to go from one state to another that it cannot go to.",
        "replica: failed cannot become ready (allowed: starting)",
        "Report it with `qd support-bundle`.",
    ),
    "E1010": Kind(
        "A spec is refused, and nothing of it was applied. Every problem stands below with a code of its own.",
        "fleet.yaml: 2 problems, nothing applied",
        "`qd explain CODE` for each problem.",
    ),
    "E1011": Kind(
        "A request is over a limit of size.", "headers may have 65536 bytes", "Send less at once; `qd api openapi` tells the limits."
    ),
    "E1012": Kind(
        "Too many requests in a short time.",
        "too many tokens and login codes from this address were wrong",
        "Wait as long as the answer says (`Retry-After`).",
    ),
    "E1013": Kind(
        "No control plane answers for this home or URL; nothing was sent.",
        "no control plane answers for /home/ann/.local/state/quarterdeck",
        "`qd up` starts one; `qd context show` tells which home is meant.",
    ),
    "E1014": Kind(
        "Something is there, and it is not for the HTTP method that was used.",
        "OPTIONS is not for /v1/status",
        "Use one of those in the hint, which the answer has in `Allow` too; `qd api openapi` describes them.",
    ),
    "E1101": Kind("The file is larger than a spec may be.", "the file is larger than 256 KiB", _ONE_SPEC),
    "E1102": Kind(
        "A control character, as it is or escaped, that could hide something from whoever reads the file.",
        "character U+0007 is not allowed in a spec",
        "Delete it; the place is in the message.",
    ),
    "E1103": Kind(
        "The text is not YAML.",
        "not YAML: expected ',' or ']', but got '<stream end>'",
        "Mend it at the place: most often it is the indentation, or quotes or a bracket that were not closed.",
    ),
    "E1104": Kind(
        "There is nothing in the file.",
        "the file is empty",
        "`qd init` writes a project that runs; `qd explain spec` tells what belongs into a spec.",
    ),
    "E1105": Kind(
        "The document is a list or a single value.",
        "a spec is a mapping (name: value)",
        "Begin with `apiVersion:`, `kind:`, `metadata:` and `spec:` at the left margin.",
    ),
    "E1106": Kind("A second document begins in the file.", "a second document begins here; one file describes one system", _ONE_SPEC),
    "E1107": Kind(
        "A `%` directive stands before the document.",
        "directives are not allowed; a spec is YAML 1.2",
        "Delete the line that begins with `%`.",
    ),
    "E1108": Kind(
        "Values lie deeper in one another than any spec needs.",
        "nested deeper than 50 levels",
        "Look for brackets that were opened and not closed.",
    ),
    "E1109": Kind("More aliases (`*name`) than a spec may have.", "more than 100 aliases", "Write the values out."),
    "E1110": Kind(
        "An alias stands inside of what it stands for.", "alias *all contains itself", "Write the value out, or set the anchor further in."
    ),
    "E1111": Kind(
        "An alias names an anchor that is not there, or only further down.",
        "alias *slow has no anchor before it",
        "Write `&name` before the first use of `*name`.",
    ),
    "E1112": Kind("A YAML tag.", "tag tag:yaml.org,2002:int is not allowed", "Delete it: each field knows its own type."),
    "E1113": Kind("Infinity or not a number.", ".inf is not a finite number", "Write a number, or leave the field out for its default."),
    "E1114": Kind(
        "The name of a field, cluster or agent is a number, true, null, a list or a mapping.",
        "a name must be text",
        "Put it into quotes, or choose another name.",
    ),
    "E1115": Kind(
        "A merge key, which YAML 1.2 does not have.",
        "merge keys (<<) are not part of YAML 1.2",
        "Use an alias as a whole value: `rollout: *slow`.",
    ),
    "E1116": Kind(
        "A name stands twice in one mapping; one of both would be lost.",
        '"replicas" is written twice (first in line 8)',
        "Delete one of them.",
    ),
    "E1117": Kind("More values than a spec may have, aliases counted for all they stand for.", "more than 5,000 values", _ONE_SPEC),
    "E1118": Kind("The file is not UTF-8 text.", "byte 0xE9 is not UTF-8", "Save it as UTF-8 in your editor."),
    "E1201": Kind(
        "A field that a spec does not have at this place.",
        'unknown field "replica"',
        "Take the nearest or another one of the allowed names; `qd explain spec.clusters.agents` lists them with their meaning.",
    ),
    "E1202": Kind(
        "A field of a later version. What would not be carried out is not accepted.", 'field "image" is not in this version', "Take it out."
    ),
    "E1203": Kind("A field that has no default is not there.", 'required field "run" is missing', "Add it; the hint shows an example."),
    "E1204": Kind(
        "The name of a system, cluster, agent or variable has characters or a length that it may not have.",
        '"Analyst" cannot be a name here: a name has 1 to 63 of a-z, 0-9, - and _, and begins and ends with a letter or digit…',
        "Choose another name, as the message says.",
    ),
    "E1205": Kind("A value that is not one of those allowed.", 'kind cannot be "Sistem"', "Take one of the allowed values."),
    "E1206": Kind(
        "A number beyond its bounds.", "surge must be at least 0", "Take a number within them; `qd explain spec.FIELD` tells of the field."
    ),
    "E1207": Kind(
        "A value of another type than its field.",
        "min must be a whole number, not two",
        "Write it as the message says: a number without quotes, text in quotes, a list, a mapping.",
    ),
    "E1208": Kind("A variable of `env` has no value.", "WINDOW has no value", 'Write `""` for an empty one.'),
    "E1209": Kind(
        "A value that is not written as its field wants it, such as a duration without a unit.",
        "hang_after must be a duration with its unit (ms, s, m, h, d), e.g. 5s",
        "Write it as in the example of the message.",
    ),
    "E1301": Kind(
        "The folder of the code does not exist.", "code: there is no folder src", "`code` is relative to the folder of the spec."
    ),
    "E1302": Kind("The entry is no agent of this spec.", 'there is no agent "intake"', "Name one of the agents."),
    "E1303": Kind(
        "The entry is the name of agents of several clusters.", '"analyst" is an agent of several clusters', "Write cluster/agent."
    ),
    "E1304": Kind(
        "A limit of money per minute is meant for one owner, and would hold back all of them.",
        "money_per_minute holds all tasks back, not those of one owner",
        "Leave `owner` out, or write a budget of its own.",
    ),
    "E1305": Kind("The bounds of the number of replicas are upside down.", "max (2) is less than min (4)", "Exchange them."),
    "E1306": Kind(
        "A rolling update could neither start a new replica nor stop an old one.",
        "surge and max_unavailable are both 0: nothing could ever be replaced",
        "Set one of them to 1.",
    ),
    "E1307": Kind("A variable is set by `env` and by `secrets`.", "KEY is in env as well", "Delete one of them."),
    "E1308": Kind(
        "A secret cannot be read where the spec says it lies.",
        "secret PAGER_KEY: the environment variable PAGER_KEY is not set",
        "Export the variable in the shell that runs `qd`, or put the value into a file of mode 600 and name it as `file:PATH`.",
    ),
    "E1309": Kind(
        "The name of an agent is that of a replica of another agent.",
        '"analyst-1" reads as a replica of agent "analyst"',
        "Name it without the number at the end.",
    ),
    "E1310": Kind(
        "The quota of a cluster has no room for its agents at their least.",
        "the agents of analysts need at least 4 replicas, its quota allows 2",
        "Raise `quota.replicas`, or lower `replicas` of its agents.",
    ),
    "E1311": Kind(
        "One agent at its least needs more memory than the quota of its cluster.",
        "2 x 1Gi is more than the 1Gi of the cluster's quota",
        "Raise `quota.memory`, or lower `memory` or `replicas` of the agent.",
    ),
    "E1312": Kind(
        "The quota has no room for the replicas that a rolling update adds for a while. A warning where in place will do.",
        "the quota of analysts leaves 0 replicas for the surge of 1 that analyst wants",
        "Raise `quota.replicas`, or set `rollout: {surge: 0, max_unavailable: 1}`.",
    ),
    "E1313": Kind("A link names a cluster that is not in the spec.", 'there is no cluster "reporting"', "Name one of the clusters."),
    "E1314": Kind(
        "A link leads from a cluster to itself.", "a cluster needs no link to itself", "Delete it: inside a cluster all agents may talk."
    ),
    "E1315": Kind("The same link stands twice in the spec.", "the link analysts -> reporting is written twice", "Delete one of them."),
    "E1401": Kind(
        "The module of an entry point is not in the code.",
        "analysts/analyst: there is no module 'agent'",
        "`run` is MODULE:NAME, looked up from the folder `code`.",
    ),
    "E1402": Kind(
        "The module has no such name, or it is neither an Agent nor a function.",
        "analysts/analyst: agents has no 'analist'",
        "Name an Agent or a function of the module.",
    ),
    "E1403": Kind(
        "The code cannot be imported because of what stands in it.",
        "analysts/analyst: SyntaxError: '(' was never closed (broken.py, line 1) (broken.py:1)",
        "Mend it at the place; `python -c 'import MODULE'` in the folder of the code shows the same.",
    ),
    "E1404": Kind(
        "A warning: the entry point could not be looked up here, for a reason that may lie outside of the code.",
        "analysts/analyst: ImportError: No module named 'a_package_that_nobody_has' (needy.py:1)",
        "Install what is missing into the environment of `qd`; the deployment reports it if it lasts.",
    ),
    "E1501": Kind(
        "The system was edited since the plan was made: applied, rolled back, scaled, held or stopped, by anybody.",
        "the world moved: planned at index 41, now 44",
        "Plan again and look again; `qd journal` tells who did what.",
    ),
    "E1502": Kind(
        "The spec, the code or a secret is not what the kept plan was made for.",
        "the spec, the code or a secret of triage is not what was planned any more",
        "Plan again, or bring back what was planned.",
    ),
    "E1503": Kind(
        "The kept plan belongs to another home or another system.",
        "plan.json was planned for another home: /srv/staging",
        "Apply it where it was made, or plan here.",
    ),
    "E1504": Kind(
        "The file of a kept plan is cut off, or was edited into something else.",
        "plan.json is not a whole plan: line 9, column 13: Unterminated string starting at",
        "`qd plan --out` makes a new one.",
    ),
    "E1601": Kind(
        "A field of a sign-in file is missing, unknown, or not what it must be.",
        "signin.yaml:4:3: spec.isuer: there is no such field",
        "docs/how-to/sign-in has the whole file; while it has faults nobody signs in by it, and `qd open` works.",
    ),
}
"""Every kind by its code."""
