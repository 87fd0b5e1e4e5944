"""Bugs of the doors: tokens, roles, forms, pages, and how many are let in."""

import pytest
from tests.planted.bug import Bug

MATRIX = "tests/unit/api/test_matrix.py::"
LIMITS = "tests/unit/api/test_limits.py::"
PAGES = "tests/unit/api/test_pages.py::"
METHODS = "tests/unit/api/test_methods.py::"

BUGS = (
    Bug(
        "a secret that an agent prints stands in its log",
        "engines/local/node/logs.py",
        "        line = self._mask.data(line)\n",
        "",
        "tests/unit/test_masks.py::test_a_value_in_a_long_line_is_found_however_it_arrives",
    ),
    Bug(
        "a secret in an exception is kept as the task's error",
        "agents/taskwork.py",
        "self._place.mask.text(named(error))",
        "named(error)",
        "tests/unit/agents/test_taskwork_told.py::test_no_secret_is_in_an_error_or_in_progress",
    ),
    Bug(
        "what the end cuts off is logged as a fault of the application",
        "api/protocol.py",
        "            if not self.transport.is_closing():\n",
        "            if True:\n",
        "tests/unit/api/test_serving.py::test_what_does_not_end_is_cut_off_and_is_no_fault",
    ),
    Bug(
        "an expired token still opens the API",
        "store/tokens.py",
        ' and now < float(str(row["expires"]))\n',
        "\n",
        "tests/unit/store/test_nouns.py::test_a_token_is_kept_as_a_hash_and_checked",
    ),
    Bug(
        "a route without a rule is open to everybody",
        "api/roles.py",
        "    if need is None:\n        raise",
        "    if need is None:\n        return\n        raise",
        MATRIX + "test_a_route_without_a_rule_answers_nobody",
    ),
    Bug(
        "pages reach the API without its rules",
        "api/server.py",
        "                route = admit(self.table, scope)\n",
        '                if scope.get("grant") is not None:\n                    await super().__call__(scope, receive, send)\n'
        "                    return\n                route = admit(self.table, scope)\n",
        MATRIX + "test_each_role_in_each_place_gets_what_the_rule_says",
    ),
    Bug(
        "a cookie alone may change things",
        "api/csrf.py",
        '    if not secret or scope["method"] in SAFE:\n',
        "    if True:\n",
        MATRIX + "test_a_change_by_cookie_needs_our_origin_and_the_word_of_its_session",
    ),
    Bug(
        "a form is taken without its word",
        "api/csrf.py",
        '        require(secret, fields.get(FIELD, ""))\n',
        "        _ = fields.get(FIELD)\n",
        MATRIX + "test_a_change_by_cookie_needs_our_origin_and_the_word_of_its_session",
    ),
    Bug(
        "another cluster's replicas are shown to a bound token",
        "deploy/narrowed.py",
        "        workloads=tuple(w for w in whole.workloads if w.cluster == cluster),\n",
        "        workloads=whole.workloads,\n",
        MATRIX + "test_a_token_of_one_cluster_sees_no_other",
    ),
    Bug(
        "a cluster is recognised by how its name begins",
        "model/grant.py",
        'target.partition("/")[0] == self.cluster',
        'target.startswith(self.cluster or "")',
        MATRIX + "test_a_change_outside_is_refused_in_the_same_words_whether_or_not_it_exists",
    ),
    Bug(
        "secrets of tokens are kept as they are",
        "store/tokens.py",
        '    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()\n',
        "    return secret\n",
        "tests/unit/api/test_tokens.py::test_a_secret_is_told_once_and_lies_nowhere",
    ),
    Bug(
        "a body that does not say how long it is has no end",
        "api/exchange.py",
        "        if self._got > (most := body_limit(self.scope)):\n",
        "        if self._got < 0:\n",
        LIMITS + "test_a_body_over_the_limit_is_refused_also_when_it_does_not_say_so",
    ),
    Bug(
        "a revoked token's streams go on",
        "api/exchange.py",
        "            if owner in gone:\n",
        "            if False:\n",
        LIMITS + "test_the_streams_of_a_token_end_with_it_and_no_others",
    ),
    Bug(
        "listens on the network in clear",
        "api/door.py",
        "        if not _is_loopback(bind) and not cert:\n",
        "        if not _is_loopback(bind) and bool(cert) != bool(key):\n",
        "tests/unit/api/test_door.py::test_anything_else_without_tls_is_refused_with_what_to_do",
    ),
    Bug(
        "the docs site serves whatever file is asked for",
        "web/site.py",
        "        return name if name in self.files else None\n",
        "        return name if (self.folder / name).is_file() else None\n",
        "tests/unit/web/test_site.py::test_nothing_else_can_be_asked_for",
    ),
    Bug(
        "what agents say is HTML",
        "web/pages.py",
        "autoescape=True",
        "autoescape=False",
        PAGES + "test_hostile_text_is_text",
    ),
    Bug(
        "a form does the deed without showing its plan",
        "web/act.py",
        '        if not confirmed and verb != "validate":\n',
        '        if confirmed and verb != "validate":\n',
        PAGES + "test_a_form_shows_the_plan_first_and_does_it_when_confirmed",
    ),
    Bug(
        "forms without JavaScript come from nowhere",
        "web/pages.py",
        '"Referrer-Policy": "same-origin"',
        '"Referrer-Policy": "no-referrer"',
        PAGES + "test_a_page_runs_our_own_scripts_only_and_lets_forms_name_their_origin",
    ),
    Bug(
        "pages ask the API as the owner, whoever reads them",
        "web/inner.py",
        '            "method": method,\n',
        '            "method": method,\n            "grant": self.request.app.state.services.grant,\n',
        PAGES + "test_a_page_may_do_no_more_than_its_reader",
    ),
    Bug(
        "orders that are let in count as refused, so that a busy door lets ever fewer in",
        "api/protocol.py",
        "self._turnstile.leave(self, taken=True)",
        "self._turnstile.leave(self)",
        "tests/unit/api/test_turnstile.py::test_what_is_told_to_come_again_inside_was_read_and_not_taken",
    ),
    Bug(
        "a login link goes wherever somebody has written on it",
        "api/login.py",
        "    landing = next if is_page(request, next) else FRONT\n",
        "    landing = next\n",
        "tests/unit/api/test_login.py::test_whatever_is_written_on_a_link_it_leads_nowhere_else",
    ),
    Bug(
        "a browser is sent to another host to ask again",
        "api/errors.py",
        ' or path.startswith("//"):',
        ":",
        "tests/unit/api/test_doors.py::test_a_browser_that_comes_by_a_link_on_another_site_asks_once_more_from_a_page_of_ours",
    ),
    Bug(
        "the diff of a revision opens what became a secret later",
        "api/trees.py",
        '    if any(leaf.path.rpartition("/")[2] in secrets for leaf in sides):\n',
        "    if False:\n",
        "tests/unit/api/test_differences.py::test_a_file_that_became_a_secret_is_named_and_never_opened",
    ),
    Bug(
        "whatever the method, what is sent to where tasks are given is one",
        "api/roles.py",
        '    if asked["method"] not in (getattr(found[0], "methods", None) or ()) or (asked is not scope and need.once):\n',
        "    if asked is not scope and need.once:\n",
        METHODS + "test_only_post_gives_a_task",
    ),
    Bug(
        "a program that looks at a login link uses it up",
        "api/roles.py",
        " or (asked is not scope and need.once):",
        ":",
        METHODS + "test_the_head_of_a_link_that_logs_in_once_does_not_use_it_up",
    ),
    Bug(
        "a control plane moves away from the port that its links name",
        "api/listening.py",
        "        return Choice(kept, others=asked == 0, kept=True)\n",
        "        return Choice(kept, others=True, kept=True)\n",
        "tests/unit/cli/test_checks.py::test_the_doctor_says_of_the_port_what_a_start_would_do",
    ),
    Bug(
        "what stands behind the scheme of a header goes along in a bundle",
        "cli/telling.py",
        "_value(text, _to(_SCHEME, text, at), name)",
        "_value(text, at, name)",
        "tests/unit/cli/test_redaction_lines.py::test_the_secret_of_a_line_is_gone_and_the_rest_can_be_read",
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_bug_is_caught(plant, bug):
    plant(bug)
