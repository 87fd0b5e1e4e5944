"""One spec for each code of the spec's errors: what is written, and nothing else that is wrong."""

HEAD = "apiVersion: quarterdeck.dev/v1alpha1\nkind: System\nmetadata: {name: triage}\n"
AGENT = '{run: "agents:analyst"}'


def spec(agent=AGENT, *, cluster="", top="", more="", name="analyst"):
    """A spec of one agent, with what is to be looked at put into it."""
    return f"{HEAD}spec:\n{top}  clusters:\n    analysts:\n{cluster}      agents:\n        {name}: {agent}\n{more}"


def agent(fields):
    """The agent with more fields."""
    return spec(f'{{run: "agents:analyst", {fields}}}')


FAULTS = {
    "E1101": "#" * 300_000,
    "E1102": spec('{run: "agents:analyst", env: {MARK: "\x07"}}'),
    "E1103": f"{HEAD}spec: [1, 2\n",
    "E1104": "# nothing yet\n",
    "E1105": "- clusters\n",
    "E1106": spec() + "---\n" + spec(),
    "E1107": "%YAML 1.1\n---\n" + spec(),
    "E1108": spec(top=f"  owner: {'[' * 60}{']' * 60}\n"),
    "E1109": f"{HEAD}spec: &all {{}}\nlabels: [{', '.join(['*all'] * 101)}]\n",
    "E1110": f"{HEAD}spec: &all {{clusters: *all}}\n",
    "E1111": agent("rollout: *slow"),
    "E1112": agent('env: {WINDOW: !!int "60"}'),
    "E1113": agent("replicas: .inf"),
    "E1114": spec(cluster="      1: {}\n"),
    "E1115": agent("rollout: {<<: {surge: 1}}"),
    "E1116": agent("replicas: 2, replicas: 3"),
    "E1117": f"{HEAD}spec: [{'1, ' * 5000}]\n",
    "E1118": spec(top="  owner: caf\xe9\n").encode("latin-1"),
    "E1201": agent("replica: 2"),
    "E1202": agent("image: python"),
    "E1203": spec("{replicas: 2}"),
    "E1204": spec(name="Analyst"),
    "E1205": HEAD.replace("System", "Sistem") + spec()[len(HEAD) :],
    "E1206": agent("rollout: {surge: -1}"),
    "E1207": agent("replicas: {min: two}"),
    "E1208": agent("env: {WINDOW: }"),
    "E1209": agent("hang_after: 5"),
    "E1301": spec(top="  code: src\n"),
    "E1302": spec(top="  entry: intake\n"),
    "E1303": spec(top="  entry: analyst\n", more=f"    more:\n      agents:\n        analyst: {AGENT}\n"),
    "E1304": spec(cluster="      budgets: [{owner: alice, money_per_minute: 1}]\n"),
    "E1305": agent("replicas: {min: 4, max: 2}"),
    "E1306": agent("rollout: {surge: 0, max_unavailable: 0}"),
    "E1307": agent("env: {KEY: x}, secrets: [KEY]"),
    "E1308": agent("secrets: [PAGER_KEY]"),
    "E1309": spec(more=f"        analyst-1: {AGENT}\n"),
    "E1310": spec('{run: "agents:analyst", replicas: 4}', cluster="      quota: {replicas: 2}\n"),
    "E1311": spec('{run: "agents:analyst", memory: 1Gi, replicas: 2}', cluster="      quota: {memory: 1Gi, replicas: 4}\n"),
    "E1312": spec('{run: "agents:analyst", rollout: {max_unavailable: 0}}', cluster="      quota: {replicas: 1}\n"),
    "E1313": spec(more="  links: [{from: analysts, to: reporting}]\n"),
    "E1314": spec(more="  links: [{from: analysts, to: analysts}]\n"),
    "E1315": spec(
        more=f"    reporting:\n      agents:\n        reporter: {AGENT}\n"
        "  links: [{from: analysts, to: reporting}, {from: analysts, to: reporting}]\n"
    ),
    "E1401": spec('{run: "agent:analyst"}'),
    "E1402": spec('{run: "agents:analist"}'),
    "E1403": spec('{run: "broken:analyst"}'),
    "E1404": spec('{run: "needy:analyst"}'),
}
CODE = {
    "agents.py": "def analyst(x: str) -> str:\n    return x\n",
    "broken.py": "def analyst(x:\n",
    "needy.py": "import a_package_that_nobody_has\n\n\ndef analyst(x: str) -> str:\n    return x\n",
}
