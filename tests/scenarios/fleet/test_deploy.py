"""From a file to a running fleet: the seven phases, the plan, the refusals, and a deployment that fails and is mended."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

from quarterdeck.model.steps import PHASES


def test_the_first_up_runs_all_seven_phases_in_order_and_the_second_has_nothing_to_do(fleet):
    first = fleet.up()
    status = fleet.status()
    assert [p["name"] for p in status["phases"]] == list(PHASES)
    assert {p["status"] for p in status["phases"]} == {"done"}
    assert all(p["seconds"] is not None for p in status["phases"])
    done = {c["target"]: c["since"] for c in fleet.items("conditions") if c["kind"] == "Phase"}
    assert sorted(done, key=lambda name: (done[name], PHASES.index(name))) == list(PHASES)
    shown = [line.split()[1] for line in first.out.splitlines() if line.startswith(" ✔")]
    assert shown == list(PHASES)
    assert all(line.split()[3] == "s" for line in first.out.splitlines() if line.startswith(" ✔")), first.out
    assert status["agents"] == {"ready": 4, "desired": 4}
    before = fleet.replicas()

    second = fleet.up()
    assert "Nothing to change: revision 1 is deployed and ready" in second.out
    assert {n: r["pid"] for n, r in fleet.replicas().items()} == {n: r["pid"] for n, r in before.items()}
    assert fleet.status()["revision"] == 1
    print(f"\nfirst up {first.seconds:.2f} s, second {second.seconds:.2f} s")


def test_plan_tells_what_is_pending_and_apply_refuses_an_old_index(deployed):
    fleet = deployed
    nothing = fleet.qd("plan", "--detailed-exitcode")
    assert nothing.code == 0, nothing
    assert "Plan: 0 to add, 0 to change, 0 to remove" in nothing.out

    fleet.edit("worker.py", '"one"', '"two"')
    pending = fleet.qd("plan", "--detailed-exitcode")
    assert pending.code == 2, pending
    assert "~ core/worker" in pending.out
    assert fleet.qd("plan").code == 0
    plan = fleet.qd("plan", "-o", "json").json
    assert (plan["kind"], plan["system"]) == ("Plan", "trio")
    assert [(s["phase"], s["action"], s["target"]) for s in plan["steps"]] == [("agent_cluster_deployment", "change", "core/worker")]

    change = fleet.qd("scale", "core/worker", 3, "--reason", "the world moves", "-o", "json").json
    refused = fleet.qd("apply", "--index", plan["index"])
    assert refused.code == 1
    assert f"planned at index {plan['index']}" in refused.err
    assert fleet.status()["revision"] == 1
    assert fleet.qd("revert", change["id"]).code == 0
    fleet.edit("worker.py", '"two"', '"one"')
    fleet.ready()


def test_code_that_takes_long_to_import_holds_nobody_up(deployed):
    """Longer than the node waits for a control plane that says nothing."""
    fleet = deployed
    before = fleet.control()
    fleet.edit("worker.py", "from quarterdeck import Agent", "import time\n\ntime.sleep(7)\nfrom quarterdeck import Agent")
    with ThreadPoolExecutor(1) as pool:
        planning = pool.submit(fleet.qd, "plan")
        slowest = 0.0
        while not planning.done():
            began = time.monotonic()
            fleet.status()
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.1)
    fleet.edit("worker.py", "import time\n\ntime.sleep(7)\nfrom quarterdeck import Agent", "from quarterdeck import Agent")
    assert planning.result().code == 0, planning.result()
    assert "~ core/worker" in planning.result().out
    assert slowest < 3
    assert fleet.control() == before
    print(f"\nplanned in {planning.result().seconds:.1f} s, slowest status meanwhile {slowest:.2f} s")


def test_a_wrong_spec_exits_1_names_every_error_and_applies_nothing(deployed):
    fleet = deployed
    good, index = fleet.spec.read_text(), fleet.status()["index"]
    fleet.spec.write_text(good.replace("to: core", "to: cora").replace("min: 2, max: 4", "min: 5, max: 4"))
    ran = fleet.qd("up")
    fleet.spec.write_text(good)
    assert ran.code == 1
    assert ran.err.count("quarterdeck.yaml:") >= 2
    assert "cora" in ran.err
    assert "^" in ran.err
    assert (fleet.status()["revision"], fleet.status()["index"]) == (1, index)


def test_a_deployment_that_fails_says_where_and_resumes_once_the_cause_is_mended(fleet):
    good = (fleet.folder / "worker.py").read_text()
    fleet.edit("worker.py", "from quarterdeck import Agent", "import no_such_package_here\n\nfrom quarterdeck import Agent")
    number = 1 + (fleet.folder / "worker.py").read_text().splitlines().index("import no_such_package_here")
    failed = fleet.qd("up")
    assert failed.code == 1, failed
    assert f"ModuleNotFoundError: No module named 'no_such_package_here' (worker.py:{number})" in failed.out
    assert "Failed in phase 5 of 7; phases 1-4 are complete and kept. 2 replicas of other agents are running." in failed.out
    assert "qd up (resumes at phase 5)" in failed.out

    status = json.loads(fleet.qd("status", "-o", "json").out)
    assert status["failure"]["phase"] == "agent_cluster_deployment"
    assert status["failure"]["target"] == "core/worker"
    assert status["failure"]["completed"] == list(PHASES[:4])
    assert set(fleet.replicas()) == {"edge/front-0", "edge/clerk-0"}
    kept = {n: r["pid"] for n, r in fleet.replicas().items()}

    (fleet.folder / "worker.py").write_text(good)
    mended = fleet.up()
    assert "Ready" in mended.out
    assert {n: r["pid"] for n, r in fleet.replicas().items() if n in kept} == kept
    print(f"\nfailure shown after {failed.seconds:.1f} s, mended after {mended.seconds:.1f} s")


def test_a_down_that_waits_long_for_what_is_being_done_is_carried_out_by_the_control_plane_to_its_end(fleet):
    """Longer than the node waits for a control plane that says nothing."""
    slow = 'import asyncio\n\n\n@agent.on("slow")\nasync def slow(seconds: float) -> None:\n    await asyncio.sleep(seconds)\n'
    (fleet.folder / "worker.py").write_text((fleet.folder / "worker.py").read_text() + "\n\n" + slow)
    fleet.up()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(fleet.qd, "ask", "core/worker", "slow", 7, "--timeout", "20s")
        fleet.until(lambda: any(r["inflight"] for r in fleet.replicas(agent="core/worker").values()))
        ended = fleet.qd("down", "--yes", "--within", "9s")
        asked.result()
    assert (ended.code, "the control plane does not do it" in ended.err) == (0, False), ended
    assert ended.seconds > 5
