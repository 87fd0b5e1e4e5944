"""What a revision is made of."""

from quarterdeck.deploy import revise
from quarterdeck.model.home import Home
from quarterdeck.spec.load import load

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: two}
spec:
  clusters:
    a: {agents: {one: {run: "agents:run", secrets: {KEY: "file:key.txt"}}}}
    b: {agents: {two: {run: "agents:run"}}}
"""


def test_a_secret_that_lies_beside_the_code_is_not_kept_with_it(tmp_path):
    """Every agent can read the snapshot, also those that the secret is not for."""
    code, home = tmp_path / "code", Home(tmp_path / "home")
    code.mkdir()
    (code / "agents.py").write_text("def run(x): return x\n")
    (code / "key.txt").write_text("hush\n")
    loaded = load(SPEC, filename="x", base=code, environ={})
    first = revise.content(loaded, home, {})
    assert [path.name for path in (home.revisions / first.code).iterdir()] == ["agents.py"]
    (code / "key.txt").write_text("another\n")
    second = revise.content(loaded, home, {})
    assert second.code == first.code
    assert {name for name in first.templates if first.templates[name].digest != second.templates[name].digest} == {"a/one"}


def test_a_home_inside_the_tree_changes_no_template(tmp_path):
    code, home = tmp_path / "code", Home(tmp_path / "code" / "home")
    code.mkdir()
    (code / "agents.py").write_text("def run(x): return x\n")
    loaded = load(SPEC.replace("file:key.txt", "env:KEY"), filename="x", base=code, environ={"KEY": "hush"})
    first = revise.content(loaded, home, {"KEY": "hush"})
    (home.root / "more").write_text("x")
    assert revise.content(loaded, home, {"KEY": "hush"}) == first


def test_a_plan_that_was_kept_beside_the_code_is_no_part_of_it(tmp_path):
    """Else keeping it would change what was planned, and restart every agent."""
    code, home = tmp_path / "code", Home(tmp_path / "home")
    code.mkdir()
    (code / "agents.py").write_text("def run(x): return x\n")
    loaded = load(SPEC.replace("file:key.txt", "env:KEY"), filename="x", base=code, environ={"KEY": "hush"})
    first = revise.content(loaded, home, {"KEY": "hush"})
    (code / "plan.json").write_text('{\n  "apiVersion": "quarterdeck.dev/v1alpha1",\n  "kind": "SavedPlan"\n}\n')
    assert revise.content(loaded, home, {"KEY": "hush"}) == first
    (code / "plan.json").write_text('{\n  "apiVersion": "quarterdeck.dev/v1alpha1",\n  "kind": "Plan"\n}\n')
    assert revise.content(loaded, home, {"KEY": "hush"}).digest != first.digest
