"""Tasks: given, looked at, cancelled, tried again; what became of their effects, and what they ask humans."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from quarterdeck.api.nouns import listed
from quarterdeck.api.numbers import COUNTABLE
from quarterdeck.api.orders import AnswerBody, BatchBody, Direct, ForkBody, ReasonBody, ResolveBody, TaskBody, as_text, read, takes
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Caller, Given, Services, actor_of, services_of, visible
from quarterdeck.clock import iso
from quarterdeck.errors import QuarterdeckError, UserError
from quarterdeck.model.records import Change
from quarterdeck.model.work import OPEN, Fork, Order, Task, is_task_id
from quarterdeck.store import effects, forks, overview, questions, stops, tasks
from quarterdeck.version import API_VERSION
from quarterdeck.work import desk, documents

router = APIRouter(prefix="/v1")
Json = dict[str, Any]
System = Annotated[str | None, Query(max_length=100)]
LONGEST_WAIT = 60.0
PAGE = 500
EVENTS = 1000


@router.post("/tasks", status_code=201, response_model=Json, **takes(TaskBody, needs("operator", scope="cluster")))
async def submit(request: Request) -> Direct:
    """Give work to an agent; answered once it is on disk. 200 instead of 201 when the key was known: then nothing new is done."""
    body = read(TaskBody, await request.body())
    given = await services_of(request)
    retry = request.headers.get("qd-attempt", "1") != "1"
    (made,) = await given.work.submit([body.order(given)], await actor_of(request), retry=retry)
    if isinstance(made, QuarterdeckError):
        raise made
    return Direct(_made(made), 201 if made.created else 200)


@router.post("/tasks/batch", **needs("operator", scope="cluster"))
async def submit_batch(body: BatchBody, given: Given, caller: Caller) -> Json:
    """Give a lot of work at once; for each order its task, or why it was refused."""
    orders = [_attempted(one, given) for one in body.tasks]
    made = iter(await given.work.submit([order for order in orders if isinstance(order, Order)], caller))
    return listed([_made(next(made) if isinstance(order, Order) else order) for order in orders])


@router.get("/tasks", **needs("viewer", scope="cluster"))
async def list_(  # noqa: PLR0917 one parameter a filter
    given: Given,
    system: System = None,
    state: Annotated[list[str] | None, Query()] = None,
    target: Annotated[str | None, Query(max_length=200)] = None,
    key: Annotated[str, Query(max_length=tasks.KEY_LIMIT)] = "",
    root: Annotated[str | None, Query(max_length=26)] = None,
    tops: bool = False,  # noqa: FBT001, FBT002 a query flag
    owner: Annotated[str | None, Query(max_length=200)] = None,
    before: Annotated[int | None, Query(ge=1, le=COUNTABLE)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = 100,
) -> Json:
    """Tasks, the newest first. `state` may come several times, `open` is any that has not ended; `next` is the next page's `before`.

    `owner` is the replica `cluster/agent-n` that has them, or had them last.
    """
    wanted = [s for one in state or () for s in (OPEN if one == "open" else (one,))]
    with given.store.read() as conn:
        found = tasks.list_(
            conn,
            given.grant.system_asked(system),
            cluster=given.grant.cluster,
            target=target,
            states_=wanted,
            key=key,
            root=root,
            tops=tops,
            owner=owner,
            before=before,
            limit=limit,
        )
    return {**listed([documents.short(task) for task in found]), "next": found[-1].number if len(found) == limit else None}


@router.get("/tasks/counts", **needs("viewer", scope="cluster"))
async def counts(given: Given, system: System = None) -> Json:
    """How many tasks are in each state, and what waits for a human: questions, unknown effects, dead letters, dead messages.

    `gone`: beyond the system that was asked for, how many effects are unknown of each one that is not deployed any more.
    """
    scope, deployed = _scope(given, system), {system, *given.fleet.names()}
    with given.store.read() as conn:
        by_state = overview.counts(conn, scope)
        waiting = {
            "questions": overview.open_questions(conn, scope),
            "unknown_effects": overview.unknown_effects(conn, scope),
            "dead_letters": by_state.get("dead", 0),
            "dead_messages": overview.dead_messages(conn, scope),
        }
        unknown = overview.unknown_by_system(conn, _scope(given, None)) if system else {}
    gone = {name: count for name, count in unknown.items() if name not in deployed}
    return {"apiVersion": API_VERSION, "kind": "TaskCounts", "states": by_state, "for_humans": waiting, "gone": gone}


@router.get("/tasks/by-key", **needs("viewer", scope="cluster"))
async def by_key(key: Annotated[str, Query(max_length=tasks.KEY_LIMIT)], given: Given, system: System = None) -> Json:
    """The task of a key, whatever characters are in it."""
    return _short(named(given, key, system))


@router.get("/tasks/{task}", **needs("viewer", scope="cluster"))
async def get(task: str, given: Given, system: System = None, wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0.0) -> Json:
    """One task by id or key; with `wait`, once it has ended or stopped for a human, or that many seconds are over."""
    found = named(given, task, system)
    if wait:
        found = await given.work.ended(found.id, wait)
    with given.store.read() as conn:
        return {"apiVersion": API_VERSION, **_whole(given, conn, found)}


@router.get("/tasks/{task}/tree", **needs("viewer", scope="cluster"))
async def tree(task: str, given: Given, system: System = None) -> Json:
    """A task with everything delegated below it, each in its whole form, parents first."""
    found = named(given, task, system)
    with given.store.read() as conn:
        every = tasks.tree(conn, found.root)
        kept = {found.id}
        for one in every:  # parents come before their children
            if one.parent in kept:
                kept.add(one.id)
        return listed([_whole(given, conn, one) for one in every if one.id in kept])


@router.get("/tasks/{task}/output", **needs("viewer", scope="cluster"))
async def output(task: str, given: Given, system: System = None, after: Annotated[int, Query(ge=0)] = 0) -> Json:
    """What a task said while it worked, after its piece of that number: the newest thousand, as long as this control plane runs."""
    found = named(given, task, system)
    return listed([documents.output(piece, found.id) for piece in given.work.output.after(found.id, after)])


@router.get("/tasks/{task}/history", **needs("viewer", scope="cluster"))
async def history(
    task: str,
    given: Given,
    system: System = None,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=10 * EVENTS)] = 10 * EVENTS,
) -> Json:
    """What happened to a task, and if nobody delegated it to those below it, in order, after the event of that number."""
    found = named(given, task, system)
    with given.store.read() as conn:
        told = documents.history(conn, found, after=after, limit=limit)
    return {**listed(told), "next": told[-1]["sequence"] if len(told) == limit else None}


@router.post("/tasks/{task}/cancel", **needs("operator", scope="cluster"))
async def cancel(task: str, body: ReasonBody, given: Given, caller: Caller, system: System = None) -> Json:
    """Have a task and all below it given up; a holder has ten seconds to do so, then it is taken away."""
    return _short(await given.work.cancel(named(given, task, system).id, caller, body.reason))


@router.post("/tasks/{task}/retry", **needs("operator", scope="cluster"))
async def retry(task: str, body: ReasonBody, given: Given, caller: Caller, system: System = None) -> Json:
    """Send a dead letter or a failed task back into the queue."""
    return _short(await given.work.retry(named(given, task, system).id, caller, body.reason))


@router.post("/tasks/{task}/fork", status_code=201, **needs("operator", scope="cluster"))
async def fork(  # noqa: PLR0917 what a route is given
    task: str, body: ForkBody, given: Given, caller: Caller, response: Response, system: System = None
) -> Json:
    """Run a task that has ended again, as a new one, from one of its steps: what it recorded before that is kept and not done again.

    200 instead of 201 when the key was known, or with `dry_run`, which only gives the plan: then nothing new is done.
    """
    wanted = Fork(named(given, task, system).id, body.step, caller, body.reason)
    if body.dry_run:
        response.status_code = 200
        with given.store.read() as conn:
            plan = forks.plan(conn, wanted)
            return {"apiVersion": API_VERSION, **documents.fork_plan(plan, body.key or forks.next_key(conn, plan.origin))}
    made = await given.work.fork(wanted, body.key)
    response.status_code = 201 if made.created else 200
    return _made(made)


@router.post("/tasks/{task}/resolve", **needs("operator", scope="cluster"))
async def resolve(task: str, body: ResolveBody, given: Given, caller: Caller, system: System = None) -> Json:
    """Say what became of an effect whose outcome is unknown; the task goes on."""
    said = effects.Said(body.outcome, as_text(body.value), caller, body.reason)
    return _short(await given.work.resolve(named(given, task, system).id, body.key, said))


@router.post("/tasks/{task}/answer", **needs("operator", scope="cluster"))
async def answer(task: str, body: AnswerBody, given: Given, caller: Caller, system: System = None) -> Json:
    """Answer what a task asks."""
    found = await given.work.answer(named(given, task, system).id, body.name, body.answer, caller, body.reason)
    return {"apiVersion": API_VERSION, "kind": "Question", **documents.question(found)}


@router.get("/questions", **needs("viewer", scope="cluster"))
async def open_questions(given: Given, system: System = None) -> Json:
    """What waits for an answer by a human, the most urgent first."""
    with given.store.read() as conn:
        found = [(documents.question(q), tasks.get(conn, q.task)) for q in questions.open_(conn, _scope(given, system))]
    return listed([_of_task("Question", document, task) for document, task in found])


@router.get("/effects", **needs("viewer", scope="cluster"))
async def effect_list(given: Given, system: System = None, outcome: Literal["started", "done", "failed", "unknown"] = "unknown") -> Json:
    """Effects of an outcome, the oldest first: `unknown` ones wait for a human."""
    with given.store.read() as conn:
        found = [(documents.effect(e), tasks.get(conn, e.task)) for e in effects.with_outcome(conn, outcome, _scope(given, system))]
    return listed([_of_task("Effect", document, task) for document, task in found])


def named(given: Services, name: str, system: str | None) -> Task:
    """A task that the caller may see, by id, else by key."""
    return visible(given, lambda conn: tasks.get(conn, name) if is_task_id(name) else tasks.by_key(conn, given.fleet.one(system), name))


def _scope(given: Services, system: str | None) -> overview.Scope:
    return overview.Scope(given.grant.system_asked(system), given.grant.cluster)


def _attempted(body: TaskBody, given: Services) -> Order | UserError:
    try:
        return body.order(given)
    except UserError as error:
        return error


def _whole(given: Services, conn: Connection, task: Task) -> Json:
    progress = given.work.output.progress(task.id)
    far = None if progress is None else {"fraction": progress.fraction, "text": progress.text}
    found = documents.whole(conn, task)
    asks = given.work.asks(task.id) if task.state in ("running", "waiting") else ()
    waits = [
        *found["waits_on"],
        *({"kind": "ask", "target": one.to, "since": iso(one.since)} for one in asks),
        *({"kind": "stop", "target": stop.target, "since": iso(stop.at)} for stop in _stops(given, conn, task)),
    ]
    return {**found, "waits_on": waits, "progress": far}


def _stops(given: Services, conn: Connection, task: Task) -> list[Change]:
    """Those that keep a task in the queue."""
    if task.state != "queued":
        return []
    covering = (f"{task.target.system}:", task.target.cluster, task.target.name)
    return [stop for stop in stops.live(conn, task.target.system, given.clock.now()) if stop.target in covering]


def _short(task: Task) -> Json:
    return {"apiVersion": API_VERSION, **documents.short(task)}


def _made(made: desk.Made) -> Json:
    if isinstance(made, QuarterdeckError):
        return {"apiVersion": API_VERSION, "kind": "Refusal", "error": made.message, "hint": made.hint, "status": made.http_status}
    return {**_short(made.task), "created": made.created}


def _of_task(kind: str, document: Json, task: Task) -> Json:
    return {"kind": kind, **document, "system": task.target.system, "target": task.target.name, "task_state": task.state}
