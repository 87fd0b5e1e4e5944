"""Known-bad patches: what somebody might write one day, and the test that must then fail. Kept small and about promises."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """In `file` (below src/quarterdeck) the text `old`, found exactly once, becomes `new`; then `test` must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str


PLAN = "tests/properties/test_plan.py::"
COMPOSE = "tests/properties/test_compose.py::"
CLAIMS = "tests/unit/bus/test_claims.py::"
DECIDE = "tests/unit/engines/test_node_decide.py::"

BUGS = (
    Bug(
        "creates before the control plane is proven",
        "deploy/plan.py",
        "    proven = all_hold(found.desired, conditions, CONTROL)\n",
        "    proven = True\n",
        PLAN + "test_nothing_is_created_before_the_control_planes_proofs_hold",
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
        PLAN + "test_scale_down_and_quarantine_are_planned_whatever_the_gates_say",
    ),
    Bug(
        "a new template holds up the quarantine that comes with it",
        "deploy/plan.py",
        "    template = workload.template if seen.template == workload.template.digest else seen.held\n",
        "    template = workload.template if seen.template == workload.template.digest else None\n",
        PLAN + "test_scale_down_and_quarantine_do_not_wait_for_the_new_template_or_the_restart_that_comes_with_them",
    ),
    Bug(
        "agents grow while the control plane is unproven, where their room and account happen to be there",
        "deploy/plan.py",
        "    growing = (found.rooms & found.accounts) - awaited if proven and found.world.bus.ready else frozenset[str]()\n",
        "    growing = (found.rooms & found.accounts) - awaited if found.world.bus.ready else frozenset[str]()\n",
        PLAN + "test_nothing_grows_while_a_proof_of_the_control_plane_does_not_hold_although_everything_it_rests_on_is_there",
    ),
    Bug(
        "leaves a removed workload that has no replicas",
        "deploy/plan.py",
        "        if seen.name not in wanted:\n",
        "        if seen.name not in wanted and seen.replicas_wanted:\n",
        PLAN + "test_removal_is_planned_whatever_the_gates_say",
    ),
    Bug(
        "old evidence counts like fresh evidence",
        "deploy/readiness.py",
        "    share = 1.0 if stale <= 1 else 0.5 if stale <= STALE_FACTOR else 0.0\n",
        "    share = 1.0\n",
        "tests/unit/deploy/test_readiness.py::test_evidence_decays_to_half_and_then_to_nothing",
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
        "automation overrules a person because it came later",
        "spec/overrides.py",
        "        return RANK[self.change.author], -self.change.at, -self.change.id\n",
        "        return 0, -self.change.at, -self.change.id\n",
        COMPOSE + "test_of_changes_with_distinct_ranks_the_highest_decides_whatever_its_age",
    ),
    Bug(
        "a replica may publish wherever a question's reply subject points",
        "bus/claims.py",
        "        publish=(*subjects.publish_allowed(sender, peers, linked), *ANSWERS),\n",
        '        publish=(*subjects.publish_allowed(sender, peers, linked), ">"),\n',
        CLAIMS + "test_a_replica_gets_its_exact_lists_and_no_response_permission",
    ),
    Bug(
        "a credential does not end",
        "bus/claims.py",
        '        claims["exp"] = int(expires)\n',
        '        claims["nbf"] = int(expires)\n',
        CLAIMS + "test_a_user_ends_when_it_says",
    ),
    Bug(
        "a receiver believes the envelope's sender",
        "agents/desk.py",
        "        if envelope.sender != address.sender:\n",
        "        if False:\n",
        "tests/unit/agents/test_desk.py::test_a_sender_who_signs_as_somebody_else_is_refused",
    ),
    Bug(
        "a half-open breaker lets everybody through",
        "bus/links.py",
        'circuit.state == "half-open" and circuit.probing >= circuit.policy.probes',
        'circuit.state == "half-open" and False',
        "tests/unit/bus/test_links.py::test_an_open_one_refuses_until_reset_then_lets_probes_through",
    ),
    Bug(
        "a failed rollout goes on",
        "engines/local/node/decide.py",
        "    if view.halted:\n        return []\n",
        "",
        "tests/properties/test_rollout.py::test_a_template_that_never_gets_ready_leaves_the_old_one_serving",
    ),
    Bug(
        "a failed commit is acknowledged",
        "store/writer.py",
        '            if failure(error) != "busy" or in_transaction(tx.connection):\n                raise\n',
        '            if failure(error) == "busy":\n                raise\n'
        "            for request in group:\n                request.answer()\n            return\n",
        "tests/unit/store/test_failures.py::test_a_failed_commit_answers_everybody_unknown_and_ends_writing",
    ),
    Bug(
        "a second control plane may open the store",
        "store/lock.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        "tests/unit/store/test_store.py::test_the_second_opener_is_refused_and_told_who_was_first",
    ),
    Bug(
        "an expired token still opens the API",
        "store/tokens.py",
        ' or now >= float(str(row["expires"])):\n',
        ":\n",
        "tests/unit/store/test_nouns.py::test_a_token_is_kept_as_a_hash_and_checked",
    ),
)
