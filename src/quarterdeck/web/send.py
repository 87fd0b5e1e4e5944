"""The box that tries an agent: a form made from what a verb takes, or JSON; and below it the answer.

A message has one answer. A task is heard while it works: the page of the agent then names it in its address, and is fetched again with
each piece that it says.
"""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from quarterdeck.api.csrf import Form
from quarterdeck.api.roles import needs
from quarterdeck.web.fields import Field, as_json, example, fields_of, filled, payload_of, told, typed
from quarterdeck.web.fleet import SOON, narrowed, table_of
from quarterdeck.web.inner import Json, Refused
from quarterdeck.web.pages import Copy, View
from quarterdeck.web.text import limited
from quarterdeck.web.work import ENDED

router = APIRouter(include_in_schema=False)
WITHOUT_TASK: Final = ("is work for a task", "is not working on a task")
"""What an agent says whose verb needs one, by this version and by earlier ones: a handler that is registered for messages may."""
FOR_TASKS: Final = "this verb works on tasks: press “Give as a task”"
LINES: Final = 200
"""Pieces of a task's output that are shown; its own page has more."""


@dataclass(frozen=True, slots=True)
class Box:
    """What stands in the box. `fields` None: the payload is `text`, JSON; `formed`: the verb's payload can be fields."""

    verb: str
    fields: tuple[Field, ...] | None
    text: str
    formed: bool

    @classmethod
    def fresh(cls, verbs: Json, verb: str, *, raw: bool) -> Box:
        """As it is found: for a verb, the first without one that is known."""
        chosen = verb if verb in verbs else next(iter(verbs), "")
        schema = verbs[chosen]["payload"] if chosen else {}
        fields = fields_of(schema)
        return cls(chosen, None if raw else fields, example(schema), fields is not None)

    @classmethod
    def sent(cls, verbs: Json, form: Mapping[str, str]) -> Box:
        """As it was posted. A form whose verb nobody can tell any more goes on as JSON, with what was typed."""
        verb, text = form.get("verb", ""), form.get("payload", "")
        fields = fields_of(verbs[verb]["payload"]) if verb in verbs else None
        if form.get("mode") != "fields":
            return cls(verb, None, text, fields is not None)
        if fields is None:
            rest = {name.removeprefix("f:"): value for name, value in form.items() if name.startswith("f:")}
            return cls(verb, None, json.dumps(rest, indent=2, ensure_ascii=False), formed=False)
        return cls(verb, typed(fields, form), text, formed=True)

    @classmethod
    def of(cls, verbs: Json, task: Json, *, raw: bool) -> Box:
        """As it was when a task was given."""
        fresh, payload = cls.fresh(verbs, task["verb"], raw=raw), task["payload"]
        if "payload" in task["large"]:
            return fresh
        fields = filled(fresh.fields, payload) if fresh.fields is not None else None
        text = "" if payload is None else json.dumps(payload, indent=2, ensure_ascii=False)
        return replace(fresh, verb=task["verb"] or fresh.verb, fields=fields, text=text)

    @property
    def wrong(self) -> int:
        """How many fields have an error."""
        return sum(bool(field.error) for field in self.fields or ())

    def payload(self) -> Any:
        """What to send. Raises ValueError for no JSON."""
        if self.fields is not None:
            return payload_of(self.fields)
        return json.loads(self.text) if self.text.strip() else None

    def switched(self, verbs: Json) -> Box:
        """The same payload the other way. Raises ValueError for no JSON, Refused for what no field can show."""
        if self.fields is not None:
            return replace(self, fields=None, text=as_json(self.fields))
        fields = fields_of(verbs[self.verb]["payload"]) if self.verb in verbs else None
        if fields is None or not self.text.strip():
            return replace(self, fields=fields)
        found = filled(fields, json.loads(self.text))
        if found is None:
            raise Refused(400, "not all of it has a field", "send it as JSON")
        return replace(self, fields=found)


@router.get("/agents/{cluster}/{agent}", **needs("viewer", scope="cluster"))
async def agent(
    request: Request, cluster: str, agent: str, *, verb: str = "", task: str = "", as_: Annotated[str, Query(alias="as")] = ""
) -> HTMLResponse:
    """One agent: its replicas, what set their number, its verbs, and a box to try one; `as=json` for its payload as JSON.

    With the `task` that was given, how it stands and what it said so far.
    """
    view = await View.of(request)
    found = await view.api.get(f"/v1/agents/{cluster}/{agent}")
    raw = as_ == "json"
    if not task:
        return await _page(view, found, Box.fresh(found["verbs"], verb, raw=raw))
    try:
        given = await view.api.get(f"/v1/tasks/{quote(task, safe='')}")
        if given["target"] != found["name"]:
            raise Refused(404, f"{task} is a task of {given['target']}", "")  # noqa: TRY301 shown like any other refusal
        output = await view.api.items(f"/v1/tasks/{given['id']}/output")
    except Refused as error:
        return await _page(view, found, Box.fresh(found["verbs"], verb, raw=raw), {"error": error.message, "hint": error.hint})
    box = Box.of(found["verbs"], given, raw=raw)
    same = f"qd task get {given['id']}" if given["large"] else command(view, found["name"], box.verb, given["payload"], task=True)
    return await _page(view, found, box, {"task": given, "output": output[-LINES:], "command": same})


@router.post("/agents/{cluster}/{agent}", response_model=None, **needs("operator", scope="cluster", form=True))
async def send(request: Request, cluster: str, agent: str, fields: Form) -> Response:
    """Try an agent: one request, and its answer below the box; or a task, and below the box what it says as it comes."""
    view = await View.of(request)
    found = await view.api.get(f"/v1/agents/{cluster}/{agent}")
    box = Box.sent(found["verbs"], fields)
    try:
        if "show" in fields:
            return await _page(view, found, box.switched(found["verbs"]), {})
        if box.wrong:
            many = f"{box.wrong} fields are" if box.wrong > 1 else "one field is"
            return await _page(view, found, box, {"error": f"nothing was sent: {many} wrong:", "hint": ""})
        payload = box.payload()
    except ValueError as error:
        return await _page(view, found, box, {"error": f"this is no JSON: {error}", "hint": "text goes into quotes"})
    except Refused as error:
        return await _page(view, found, box, {"error": error.message, "hint": error.hint})
    name = f"{cluster}/{agent}"
    try:
        if fields.get("as") == "task":
            task = await view.api.post("/v1/tasks", target=name, verb=box.verb, payload=payload)
            raw = None if fields.get("mode") == "fields" else "json"
            return RedirectResponse(view.link(f"/agents/{name}#answer", task=task["id"], **{"as": raw}), status_code=303)
        answer = await view.api.post("/v1/ask", target=name, verb=box.verb, payload=payload, timeout=20.0)
    except Refused as error:
        hint = FOR_TASKS if any(words in error.message for words in WITHOUT_TASK) and fields.get("as") != "task" else error.hint
        refused = {"error": error.message, "hint": hint, "command": command(view, name, box.verb, payload)}
        marked = replace(box, fields=told(box.fields, box.verb, error.message) if box.fields else box.fields)
        return await _page(view, found, marked, refused)
    text = json.dumps(answer["reply"], indent=2, ensure_ascii=False)
    return await _page(view, found, box, {**answer, "text": text, "command": command(view, name, box.verb, payload)})


def command(view: View, name: str, verb: str, payload: Any, *, task: bool = False) -> str:
    """The same request in a shell. Only ASCII, so that it says what it seems to say; what looks like an option is none."""
    text = json.dumps(payload)
    system = ["-s", str(view.api.system)] if len(view.systems) > 1 else []
    if task:
        options = {"--verb": verb, "--data": "" if payload is None else text}
        given = [[f"{o}={v}"] if v.startswith("-") else [o, v] for o, v in options.items() if v]
        return shlex.join(["qd", "task", "submit", *system, name, *itertools.chain(*given), "--wait"])
    words = ["--"] if text.startswith("-") or verb.startswith("-") else []
    return shlex.join(["qd", "ask", *system, *words, name, verb, *([] if payload is None else [text])])


async def _page(view: View, found: Json, box: Box, answer: Json | None = None) -> HTMLResponse:
    """The page of an agent; with what came of a try, {} for nothing yet."""
    name = found["name"]
    why = await view.api.get("/v1/explain", target=name)
    why = {**why, "changes": limited(why["changes"])}
    facts = {"agent": found, "why": why, "box": box, "answer": answer, **table_of(view.api.request, found["replicas_seen"])}
    copy = Copy(f"qd explain {name}", f"/v1/agents/{name}", whole=narrowed(view.api.request))
    given = (answer or {}).get("task")
    follows = given["root"] if given and given["state"] not in ENDED else ""
    return view.html("agent.html", name, copy, every=SOON, follows=follows, **facts)
