"""Bugs of the bus: who may say what, the outbox, and bodies too large for a message."""

import pytest
from tests.planted.bug import Bug

CLAIMS = "tests/unit/bus/test_claims.py::"
OUTBOX = "tests/unit/store/test_outbox.py::"
POST = "tests/unit/agents/test_post.py::"
POSTING = "tests/unit/bus/test_posting.py::"
DEPOT = "tests/unit/work/test_depot.py::"

BUGS = (
    Bug(
        "a replica may publish wherever a question's reply subject points",
        "bus/claims.py",
        "        publish=(*subjects.publish_allowed(sender, incarnation, peers, linked), *ANSWERS),\n",
        '        publish=(*subjects.publish_allowed(sender, incarnation, peers, linked), ">"),\n',
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
        "        if address.sender not in (envelope.sender, subjects.LEDGER_SENDER):  # who speaks for others; see `subjects`\n",
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
        "a user of the bus is known by the name it gives itself",
        "engines/local/proving.py",
        '    name = str(claims.read(jwt)["name"])\n',
        '    name = str(connection["name"])\n',
        "tests/unit/engines/test_proving.py::test_a_connection_belongs_to_whom_its_jwt_names_whatever_it_calls_itself",
    ),
    Bug(
        "a replaced replica keeps its callers away for half a minute",
        "bus/client.py",
        '            if error.failure == "timeout":',
        '            if error.failure in ("timeout", "no_responders"):',
        "tests/unit/bus/test_client.py::test_a_replica_that_is_being_replaced_opens_no_breaker",
    ),
    Bug(
        "a batch that was not confirmed counts as stored",
        "bus/posting.py",
        "        except (Unanswered, UserError):\n            return None  # each hears of its own\n",
        "        except (Unanswered, UserError):\n            found = {'stream': 'x', 'seq': 1}\n",
        POSTING + "test_a_batch_that_the_server_took_to_its_grave_is_confirmed_to_nobody",
    ),
    Bug(
        "whoever gives up in a batch's name leaves the others waiting",
        "bus/posting.py",
        "                if not one.told.done():\n                    self.send_alone(one)\n",
        "                if False:\n                    self.send_alone(one)\n",
        POSTING + "test_whoever_gives_up_takes_none_of_the_others_with_it",
    ),
    Bug(
        "the outbox is marked before the stream has confirmed",
        "work/outbox.py",
        '            return Answer("later", reason=error.message)\n',
        '            return Answer("took", 1)\n',
        "tests/unit/work/test_relay.py::test_no_answer_is_not_known_so_it_is_sent_again_under_the_same_name",
    ),
    Bug(
        "messages are told apart by the stream's window only",
        "store/outbox.py",
        "    known = _known(turn, holder.system, sender, letter)\n",
        "    known = None\n",
        OUTBOX + "test_a_key_is_one_message_for_ever_whichever_replica_says_it_and_another_body_is_a_conflict",
    ),
    Bug(
        "the confirmation of a stream that was lost meanwhile counts",
        "store/outbox.py",
        'row["attempt"] != message.attempt or epoch(turn, message.target) != at_epoch:\n',
        'row["attempt"] != message.attempt:\n',
        OUTBOX + "test_a_confirmation_of_a_stream_that_was_made_anew_meanwhile_does_not_count",
    ),
    Bug(
        "a message that is sent again after a loss looks to the stream like the first one",
        "store/outbox.py",
        '        again = {"attempt": cast("int", row["attempt"]) + 1, "seq": 0, "sent": None}\n',
        '        again = {"seq": 0, "sent": None}\n',
        OUTBOX + "test_after_a_loss_everything_sent_and_not_known_to_be_handled_goes_out_again_as_a_new_copy",
    ),
    Bug(
        "one dead message holds up its order for ever",
        "store/outbox.py",
        '    _end(turn, row, "dead", reason=reason, deliveries=deliveries)\n',
        '    _move(turn, row, "dead", ended=turn.now, reason=reason, deliveries=deliveries)\n',
        OUTBOX + "test_of_one_order_the_next_is_sent_when_the_one_before_has_ended",
    ),
    Bug(
        "a handled message is acknowledged before the ledger knows",
        "agents/desk.py",
        "                    await box.handled(kept)\n",
        "                    pass\n",
        POST + "test_a_handled_message_is_noted_before_it_is_acknowledged",
    ),
    Bug(
        "the stream lets go of a dead message that nobody keeps",
        "agents/desk.py",
        '            return Verdict("again", RETRY_MOST)\n        return Verdict("never", reason=answer.kind)\n',
        '            pass\n        return Verdict("never", reason=answer.kind)\n',
        POST + "test_a_message_that_nobody_keeps_stays_in_the_stream",
    ),
    Bug(
        "a large body is kept under whatever name it was sent",
        "store/blobs.py",
        "        if wanted not in (None, found):\n",
        "        if False:\n",
        DEPOT + "test_another_content_than_it_is_called_is_refused_and_nothing_is_left",
    ),
    Bug(
        "a large body goes while somebody is told that it is there",
        "store/blobs.py",
        "            if path.stat().st_mtime >= before:",
        "            if False:",
        "tests/unit/store/test_blobs.py::test_what_is_used_while_it_is_swept_stays",
    ),
    Bug(
        "a damaged file is handed out",
        "work/depot.py",
        "        if asked.at == 0:\n",
        "        if False:\n",
        DEPOT + "test_what_is_not_there_or_damaged_or_foreign_says_so",
    ),
    Bug(
        "a task may refer to a large body that is not there",
        "work/perform.py",
        "    bench.keep(op)\n",
        "",
        "tests/unit/work/test_bodies.py::test_each_operation_takes_a_reference_to_what_is_there_and_to_nothing_else",
    ),
    Bug(
        "a text that spells a reference is one",
        "model/blobs.py",
        "    return [json.loads(body)] if ref is None else [None, str(ref)]\n",
        "    return [json.loads(body)] if ref is None else [ref.body]\n",
        "tests/properties/test_blobs.py::test_a_text_that_spells_a_reference_is_another_payload",
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_bug_is_caught(plant, bug):
    plant(bug)
