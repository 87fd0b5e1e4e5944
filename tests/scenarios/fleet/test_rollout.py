"""Changed code reaches exactly the agents it concerns, loses no message on the way, and can be taken back."""


def versions(fleet):
    return {name: fleet.ask(name, "version") for name in fleet.replicas(agent="core/worker")}


def taken(fleet):
    """How often each number arrived at the receivers: a slot's folder outlives its replicas."""
    counts = {}
    for name in fleet.replicas(agent="core/worker"):
        for number in fleet.ask(name, "taken"):
            counts[number] = counts.get(number, 0) + 1
    return counts


def pids(fleet):
    return {name: r["pid"] for name, r in fleet.replicas().items()}


def test_changed_code_rolls_its_own_agent_under_load_and_no_message_is_lost(deployed):
    fleet = deployed
    before = pids(fleet)
    fleet.edit("worker.py", 'return "one"', 'return "two"')
    with fleet.load("send") as load:
        load.more(20)
        ran = fleet.up()
        load.more(20)
    after = pids(fleet)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"core/worker-0", "core/worker-1"}
    assert set(versions(fleet).values()) == {"two"}
    assert load.errors == []
    counts = fleet.until(lambda: c if set(c := taken(fleet)) >= set(load.done) else None, what=lambda: set(load.done) - set(taken(fleet)))
    twice = sum(count > 1 for count in counts.values())
    assert fleet.status()["revision"] == 2
    print(f"\nrolled in {ran.seconds:.1f} s: {len(load.done)} durable messages acknowledged, 0 lost, {twice} seen twice")


def test_rollback_brings_the_old_code_back(deployed):
    fleet = deployed
    ran = fleet.qd("rollback", "1", "--reason", "two was worse")
    assert ran.code == 0, ran
    assert set(versions(fleet).values()) == {"one"}
    revisions = {r["number"]: r for r in fleet.items("revisions")}
    current = next(r for r in revisions.values() if r["current"])
    assert current["number"] == 3
    assert (current["digest"], current["code"]) == (revisions[1]["digest"], revisions[1]["code"])
    again = fleet.qd("rollback", "--reason", "on second thought")
    assert again.code == 0, again
    assert set(versions(fleet).values()) == {"two"}
    print(f"\nrolled back in {ran.seconds:.1f} s, forward again in {again.seconds:.1f} s")


def test_a_broken_revision_stops_its_rollout_and_the_old_one_keeps_serving(deployed):
    fleet = deployed
    before = pids(fleet)
    good = (fleet.folder / "worker.py").read_text()
    broken = good + '\n\n@agent.start\ndef fail() -> None:\n    raise RuntimeError("no such table")\n'
    (fleet.folder / "worker.py").write_text(broken)
    with fleet.load("through") as load:
        load.more(5)
        ran = fleet.qd("up")
        load.more(5)
    assert ran.code == 1, ran
    assert "rollout stopped: RuntimeError: no such table (worker.py:" in ran.out
    assert "2 of 2 replicas of the earlier revision keep serving" in ran.out
    assert load.errors == []
    assert set(versions(fleet).values()) == {"two"}
    assert pids(fleet) == before
    status = fleet.status()
    failure = status["failure"]
    assert (failure["phase"], failure["target"]) == ("agent_cluster_deployment", "core/worker")
    assert (status["agents"]["ready"], status["capacity"]["ready"]) == (2, 4), "as it is wanted, and whatever works"
    assert "rollout stopped, 2 of the earlier revision serve" in status["sentence"]
    assert {c["name"]: c["health"] for c in fleet.items("clusters")} == {"edge": "healthy", "core": "degraded"}

    (fleet.folder / "worker.py").write_text(good)
    mended = fleet.up()
    assert pids(fleet) == before
    print(f"\nbroken revision reported after {ran.seconds:.1f} s with 2 of 2 old replicas serving; taken back in {mended.seconds:.1f} s")


def test_a_changed_spec_adds_and_removes_agents_and_links(deployed):
    fleet = deployed
    kept = pids(fleet)
    good = fleet.spec.read_text()
    shorter = "\n".join(line for line in good.splitlines() if "clerk:" not in line)
    fleet.spec.write_text(shorter + "\n    - {from: core, to: edge}\n")
    plan = {(s["action"], s["target"]) for s in fleet.qd("plan", "-o", "json").json["steps"]}
    assert {("remove", "edge/clerk"), ("add", "core->edge")} <= plan
    fleet.up()
    assert {link["name"] for link in fleet.items("links")} == {"edge->core", "core->edge"}
    assert "edge/clerk-0" not in {r["name"] for r in fleet.items("replicas")}
    assert pids(fleet) == {name: pid for name, pid in kept.items() if "clerk" not in name}, fleet.journal("replica.exited")
    fleet.spec.write_text(good)
    fleet.up()
    assert set(pids(fleet)) == set(kept)
    assert fleet.qd("validate").code == 0
