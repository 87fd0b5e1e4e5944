"""The doors of large payloads over real files: put, referred to, got, and refused."""

import json

import pytest

from quarterdeck.api import exchange
from quarterdeck.model import blobs as model
from quarterdeck.model.blobs import Ref
from quarterdeck.model.grant import Grant
from quarterdeck.model.work import MOST_BODY
from quarterdeck.store import blobs as store_blobs
from quarterdeck.store import tokens

LARGE = json.dumps("x" * MOST_BODY)
REF = Ref.of(LARGE.encode())


def bearer(fleet, role, place=""):
    _, secret = fleet.store.write_sync(lambda tx: tokens.create(tx, Grant.at(role, place), 30_000_000.0, "test"))
    return {"authorization": f"Bearer {secret}"}


def put(fleet, content=LARGE, *, place="", role="operator", **headers):
    headers = {**bearer(fleet, role, place), "content-type": "application/octet-stream", **headers}
    return fleet.stranger("POST", "/v1/blobs", content=content, headers=headers)


async def pieces(size):
    for _ in range(size // 65_536):
        yield b" " * 65_536


def files(fleet):
    return sorted(path.name for path in fleet.home.blobs.rglob("*") if path.is_file())


def test_it_is_put_referred_to_and_got(fleet):
    made = put(fleet)
    assert (made.status, made.json) == (
        201,
        {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "Blob", "ref": str(REF), "bytes": len(LARGE)},
    )
    assert put(fleet).json == made.json
    order = {"target": "one/reader", "payload_ref": str(REF), "key": "k"}
    task = fleet.post("/v1/tasks", order)
    assert (task.status, fleet.post("/v1/tasks", order).json["id"]) == (201, task.json["id"])
    other = put(fleet, LARGE + " ").json["ref"]
    assert fleet.post("/v1/tasks", {**order, "payload_ref": other}).status == 409
    whole = fleet.get("/v1/tasks/k").json
    assert (whole["payload"], whole["large"]) == ({"$ref": str(REF), "bytes": REF.size}, ["payload"])
    found = fleet.get(f"/v1/blobs/{REF}")
    assert (found.status, found.text, found.headers["content-type"]) == (200, LARGE, "application/json")
    assert found.headers["content-length"] == str(REF.size)


def test_a_payload_that_looks_like_a_reference_is_none(fleet):
    put(fleet)
    for payload in ({"$ref": str(REF), "bytes": REF.size}, REF.body, str(REF)):
        made = fleet.post("/v1/tasks", {"target": "one/reader", "payload": payload}).json
        whole = fleet.get(f"/v1/tasks/{made['id']}").json
        assert (whole["payload"], whole["large"]) == (payload, [])


@pytest.mark.parametrize("name", ["x", "sha256:", f"sha256:{'a' * 64}", "../../quarterdeck.db", f"@{REF}", f"{REF}000"])
def test_what_is_no_reference_is_refused(fleet, name):
    order = fleet.post("/v1/tasks", {"target": "one/reader", "payload_ref": name, "key": "k"})
    assert (order.status, "names no blob" in order.json["error"]["message"]) == (400, True)
    assert fleet.get("/v1/tasks/k").status == 404
    assert fleet.get(f"/v1/blobs/{name}").status in (400, 404)


def test_an_order_has_one_payload(fleet):
    put(fleet)
    refused = fleet.post("/v1/tasks", {"target": "one/reader", "payload": 1, "payload_ref": str(REF)})
    assert (refused.status, refused.json["error"]["where"]) == (400, "payload_ref")


def test_what_is_not_there_is_refused_and_nothing_is_kept(fleet):
    order = fleet.post("/v1/tasks", {"target": "one/reader", "payload_ref": str(REF), "key": "k"})
    assert (order.status, f"there is no blob {REF} in pair" in order.json["error"]["message"]) == (404, True)
    assert fleet.get("/v1/tasks/k").status == 404
    assert fleet.get(f"/v1/blobs/{REF}").status == 404


def test_a_damaged_file_is_told_before_a_byte_of_it_is(fleet):
    put(fleet)
    path = fleet.home.blobs / "pair" / REF.digest[:2] / REF.digest
    path.write_bytes(b"[" + path.read_bytes()[1:])
    found = fleet.get(f"/v1/blobs/{REF}")
    assert (found.status, "is damaged" in found.json["error"]["message"]) == (500, True)


def test_too_much_is_refused_also_when_it_does_not_say_so(fleet, monkeypatch):
    monkeypatch.setattr(exchange, "MOST_BLOB", 8 << 20)
    assert put(fleet, pieces(8 << 20)).status == 201
    assert put(fleet, pieces((8 << 20) + 65_536)).status == 413
    assert put(fleet, b"", **{"content-length": str((8 << 20) + 1)}).status == 413
    monkeypatch.setattr(store_blobs, "MOST_BLOB", 1 << 20)
    refused = put(fleet, pieces(2 << 20))
    assert (refused.status, refused.json["error"]["kind"]) == (413, "TooLarge")
    assert len(files(fleet)) == 1
    assert model.MOST_BLOB == 64 << 20


def test_nothing_and_a_full_disk_are_refused_and_nothing_is_left(fleet, monkeypatch):
    assert put(fleet, b"").status == 400

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_blobs, "write_all", full)
    refused = put(fleet)
    assert (refused.status, "No space left on device" in refused.json["error"]["message"]) == (507, True)
    assert files(fleet) == []


def test_who_may_submit_may_put_and_who_may_look_may_get(fleet):
    assert put(fleet, role="viewer").status == 403
    assert put(fleet, place="one").status == 201
    for role, place in (("viewer", ""), ("viewer", "one"), ("viewer", "pair/one")):
        assert fleet.stranger("GET", f"/v1/blobs/{REF}", headers=bearer(fleet, role, place)).status == 200
    assert fleet.stranger("GET", f"/v1/blobs/{REF}?system=pair", headers=bearer(fleet, "viewer", "other/one")).status in (403, 404)
    assert put(fleet, place="other/one").status in (403, 404)
    assert fleet.stranger("GET", f"/v1/blobs/{REF}").status == 403
