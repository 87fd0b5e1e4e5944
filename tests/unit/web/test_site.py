"""The docs site is served from its manifest and from nothing else."""

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI

from quarterdeck.api.roles import need_of
from quarterdeck.web import site

FILES = {
    "index.html": b"<h1>front</h1>",
    "tutorial/index.html": b"<h1>tutorial</h1>",
    "assets/main.0123abcd.min.css": b"body {}",
    "stylesheets/own.css": b"p {}",
    "picture.png": b"\x89PNG",
}
DIGEST = "sha256-AAAA"


def get(path, **headers):
    app = FastAPI(docs_url=None)
    app.include_router(site.router)

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A site with a secret beside it and one within it that its manifest does not name."""
    made = tmp_path / "site"
    for name, content in FILES.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(content)
    (made / "unnamed.txt").write_text("secret")
    (tmp_path / "secret.txt").write_text("secret")
    write_manifest(made, {name: f"digest{n}" for n, name in enumerate(FILES)})
    monkeypatch.setattr(site, "SITE", made)
    return made


def write_manifest(made, files):
    (made / "manifest.json").write_text(json.dumps({"files": files, "scripts": [DIGEST]}))


def test_every_route_needs_a_viewer():
    assert [need_of(route).role for route in site.router.routes] == ["viewer", "viewer"]


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("/docs/", b"<h1>front</h1>", "text/html; charset=utf-8"),
        ("/docs/tutorial/", b"<h1>tutorial</h1>", "text/html; charset=utf-8"),
        ("/docs/stylesheets/own.css", b"p {}", "text/css; charset=utf-8"),
        ("/docs/picture.png", b"\x89PNG", "image/png"),
    ],
)
def test_a_file_of_the_manifest_is_served_as_what_it_is(folder, path, content, kind):
    answer = get(path)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, content, kind)
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("path", "to"), [("/docs", "/docs/"), ("/docs/tutorial", "/docs/tutorial/")])
def test_a_folder_gets_its_slash(folder, path, to):
    answer = get(path)
    assert (answer.status_code, answer.headers["location"]) == (308, to)


@pytest.mark.parametrize(
    "path",
    [
        "/docs/../secret.txt",
        "/docs/%2e%2e/secret.txt",
        "/docs/..%2fsecret.txt",
        "/docs/tutorial/..%2f..%2f..%2fsecret.txt",
        "/docs/%2fetc%2fpasswd",
        "/docs//etc/passwd",
        "/docs/unnamed.txt",
        "/docs/manifest.json",
        "/docs/index.html%00.png",
        "/docs/..%5csecret.txt",
        "/docs//evil.example/",
    ],
)
def test_nothing_else_can_be_asked_for(folder, path):
    answer = get(path)
    assert answer.status_code == 404
    assert b"secret" not in answer.content
    assert "location" not in answer.headers


def test_names_that_change_with_their_content_are_kept_for_ever_and_others_asked_for_again(folder):
    assert get("/docs/assets/main.0123abcd.min.css").headers["cache-control"] == "private, max-age=31536000, immutable"
    first = get("/docs/stylesheets/own.css")
    assert first.headers["cache-control"] == "private, no-cache"
    again = get("/docs/stylesheets/own.css", **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert get("/docs/stylesheets/own.css", **{"If-None-Match": '"another"'}).status_code == 200


def test_the_policy_allows_the_scripts_of_the_manifest_and_no_host(folder):
    policy = get("/docs/").headers["content-security-policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert scripts == f"script-src 'self' '{DIGEST}'"
    assert "http" not in policy
    assert "*" not in policy
    assert {"default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} <= set(policy.split("; "))


def test_without_a_site_the_page_says_how_to_build_it(folder):
    (folder / "manifest.json").unlink()
    answer = get("/docs/")
    assert answer.status_code == 404
    assert "<code>make docs</code>" in answer.text


def test_a_new_site_is_seen_at_once_and_a_file_that_went_is_said_to_be_gone(folder):
    assert get("/docs/").status_code == 200
    write_manifest(folder, {"index.html": "new", "gone.html": "new"})
    assert get("/docs/").headers["etag"] == '"new"'
    assert get("/docs/tutorial/").status_code == 404
    assert "make docs" in get("/docs/gone.html").text
