"""Bugs of deploying: plans, evidence, changes, rollouts, and what a node starts."""

import pytest
from tests.planted.bug import Bug

PLAN_GATES = "tests/properties/test_plan_gates.py::"
PLAN = "tests/properties/test_plan.py::"
COMPOSE = "tests/properties/test_compose.py::"

BUGS = (
    Bug(
        "creates before the control plane is proven",
        "deploy/plan.py",
        "    proven = all_hold(found.desired, conditions, CONTROL)\n",
        "    proven = True\n",
        PLAN_GATES + "test_nothing_is_created_before_the_control_planes_proofs_hold",
    ),
    Bug(
        "takes an engine that cannot be seen for an empty world",
        "deploy/plan.py",
        "    if not world.reachable:\n",
        "    if False:\n",
        PLAN + "test_an_unreachable_engine_yields_no_steps",
    ),
    Bug(
        "one sick cluster blocks the others",
        "deploy/plan.py",
        "        yield from _accounts(found, found.rooms if proven else _revoking(found))\n",
        "        yield from _accounts(found, found.rooms if len(found.rooms) == len(found.desired.namespaces) else frozenset())\n",
        PLAN + "test_a_workload_of_a_healthy_cluster_is_planned_although_another_clusters_room_cannot_be_made",
    ),
    Bug(
        "gates hold up quarantine and scale-down",
        "deploy/plan.py",
        "            part = workload if workload.cluster in growing else _less(workload, seen)\n",
        "            part = workload if workload.cluster in growing else None\n",
        PLAN_GATES + "test_scale_down_and_quarantine_are_planned_whatever_the_gates_say",
    ),
    Bug(
        "a new template holds up the quarantine that comes with it",
        "deploy/plan.py",
        "    template = workload.template if seen.template == workload.template.digest else seen.held\n",
        "    template = workload.template if seen.template == workload.template.digest else None\n",
        PLAN_GATES + "test_scale_down_and_quarantine_do_not_wait_for_the_new_template_or_the_restart_that_comes_with_them",
    ),
    Bug(
        "agents grow while the control plane is unproven, where their room and account happen to be there",
        "deploy/plan.py",
        "    growing = (found.rooms & found.accounts) - awaited if proven and found.world.bus.ready else frozenset[str]()\n",
        "    growing = (found.rooms & found.accounts) - awaited if found.world.bus.ready else frozenset[str]()\n",
        PLAN_GATES + "test_nothing_grows_while_a_proof_of_the_control_plane_does_not_hold_although_everything_it_rests_on_is_there",
    ),
    Bug(
        "leaves a removed workload that has no replicas",
        "deploy/plan.py",
        "        if seen.name not in wanted:\n",
        "        if seen.name not in wanted and seen.replicas_wanted:\n",
        PLAN_GATES + "test_removal_is_planned_whatever_the_gates_say",
    ),
    Bug(
        "old evidence counts like fresh evidence",
        "deploy/readiness.py",
        "    share = 1.0 if stale <= 1 else 0.5 if stale <= STALE_FACTOR else 0.0\n",
        "    share = 1.0\n",
        "tests/unit/deploy/test_readiness.py::test_evidence_decays_to_half_and_then_to_nothing",
    ),
    Bug(
        "mended code counts as a recovery from a crash",
        "deploy/witness.py",
        '            case "replica.exited" if _had_been_ready(conn, h):\n',
        '            case "replica.exited":\n',
        "tests/unit/deploy/test_witness.py::test_a_replica_that_never_was_ready_did_not_crash_and_its_mended_code_heals_nothing",
    ),
    Bug(
        "an agent of which every replica is quarantined counts as answering",
        "deploy/reconcile.py",
        "        if why := isolated(desired.workload(probe.target)):\n",
        "        if why := None:\n",
        "tests/unit/deploy/test_reconcile.py::test_nobody_answers_for_an_agent_whose_only_replica_is_quarantined_until_it_is_released",
    ),
    Bug(
        "a step that timed out is shown as failed",
        "deploy/phases.py",
        '            cause = condition.message if condition is not None and condition.status == "false" else ""\n',
        '            cause = condition.message if condition is not None and condition.status != "true" else ""\n',
        "tests/unit/deploy/test_phases.py::test_a_refuted_proof_fails_its_phase_and_an_unknown_one_does_not",
    ),
    Bug(
        "a change goes on after its end",
        "spec/overrides.py",
        '    return change.state == "live" and (change.until is None or now < change.until)\n',
        '    return change.state == "live"\n',
        COMPOSE + "test_expired_and_reverted_changes_and_those_of_other_systems_have_no_effect",
    ),
    Bug(
        "a release leaves the hold behind",
        "spec/overrides.py",
        'KEEPS: Final = ("hold", "quarantined")\n',
        'KEEPS: Final = ("quarantined",)\n',
        "tests/unit/api/test_changes.py::test_a_release_ends_every_hold_and_quarantine_of_its_target_and_no_other_change",
    ),
    Bug(
        "automation overrules a person because it came later",
        "spec/overrides.py",
        "        return RANK[self.change.author], -self.change.at, -self.change.id\n",
        "        return 0, -self.change.at, -self.change.id\n",
        COMPOSE + "test_of_changes_with_distinct_ranks_the_highest_decides_whatever_its_age",
    ),
    Bug(
        "a failed rollout goes on",
        "engines/local/node/decide.py",
        "    if view.halted:\n        return []\n",
        "",
        "tests/properties/test_rollout.py::test_a_template_that_never_gets_ready_leaves_the_old_one_serving",
    ),
    Bug(
        "only the environment marks what an agent starts",
        "engines/local/node/lifecycle.py",
        "dict.fromkeys(birthmark.bearers(boot.label), boot.label)",
        "{}",
        "tests/unit/engines/test_node_parts.py::test_the_mark_from_birth_outlives_an_empty_environment_and_does_not_match_another_home",
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_bug_is_caught(plant, bug):
    plant(bug)
