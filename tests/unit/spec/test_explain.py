from __future__ import annotations

import json

import pytest

from quarterdeck.errors import NotFound
from quarterdeck.spec.explain import explain
from quarterdeck.spec.fields import field_at, model_at
from quarterdeck.spec.schema import schema
from quarterdeck.spec.system import AgentSpec


def every(doc):
    for child in doc.children:
        inner = explain(child.path)
        yield inner
        yield from every(inner)


def test_every_field_can_be_explained_and_says_what_it_is():
    docs = list(every(explain("")))
    assert len(docs) == 62
    assert [doc.path for doc in docs if not doc.description or doc.type == "value"] == []
    assert [doc.path for doc in docs if not doc.children and not doc.example] == []


def test_a_field_is_explained_with_type_default_and_example():
    doc = explain("spec.clusters.agents.hang_after")
    assert (doc.type, doc.default, doc.example) == ("duration", "10s", "10s")
    assert explain("spec.clusters.*.agents.*.run").default == "required"
    assert explain("spec.clusters.agents").type == "map of name to Agent"
    assert [child.path for child in explain("spec.links.breaker").children] == [
        f"spec.links.breaker.{n}" for n in ("failures", "reset", "probes")
    ]


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("spec.clusters.agents.replica", 'spec.clusters.agents has no field "replica"', 'did you mean "replicas"?'),
        ("spek", 'a spec has no field "spek"', 'did you mean "spec"?'),
        ("spec.owner.name", 'spec.owner has no field "name"', "spec.owner has no fields below"),
        ("spec.model", 'spec: field "model" is not in this version', "fields: owner"),
    ],
)
def test_a_path_that_is_not_there_names_the_nearest(path, message, hint):
    with pytest.raises(NotFound) as caught:
        explain(path)
    assert caught.value.message == message
    assert caught.value.hint.startswith(hint)


def test_paths_of_a_document_lead_to_their_models():
    assert model_at(("spec", "clusters", "c", "agents", "a")) is AgentSpec
    assert model_at(("spec", "clusters", "c", "agents")) is None
    assert field_at(("spec", "links", 0, "timeout")).type == "duration"
    assert field_at(("spec", "nothing")) is None


def test_the_schema_is_json_closed_and_uses_the_written_names():
    made = json.loads(json.dumps(schema()))
    definitions = made["$defs"]
    assert set(made["required"]) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(definitions["LinkSpec"]["required"]) == {"from", "to"}
    assert all(model["additionalProperties"] is False for model in definitions.values())
    assert all(field.get("description") for model in definitions.values() for field in model["properties"].values())
    assert {"type": "integer"} in definitions["AgentSpec"]["properties"]["replicas"]["anyOf"]
    assert definitions["LinkSpec"]["properties"]["timeout"]["type"] == "string"
