"""Who may what: the switch, roles, and logging in with an identity provider run here."""

import json
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from cxrlib.training import jobs
from pages.shared.permissions import from_this_machine, granted

ROLES = {"train": ["Ada@example.org"], "review": ["ada@example.org", "bo@example.org"]}


@pytest.mark.parametrize(
    ("claims", "role", "expected"),
    [
        ({"email": "ada@example.org", "email_verified": True}, "train", True),
        ({"email": "ada@example.org", "email_verified": False}, "train", False),
        ({"email": "ada@example.org", "email_verified": "false"}, "train", False),
        ({"email": "ada@example.org"}, "train", False),
        ({"email": "bo@example.org", "email_verified": True}, "train", False),
        ({"email": "bo@example.org", "email_verified": True}, "review", True),
        ({"email": "ada@example.org", "email_verified": True}, "delete", False),
        ({"name": "ada@example.org", "email_verified": True}, "review", False),
    ],
)
def test_roles_by_address(claims: dict, role: str, expected: bool) -> None:
    assert granted(claims, role, ROLES) is expected


def test_addresses_of_a_trusted_provider_need_no_word_of_it() -> None:
    assert granted({"email": "bo@example.org"}, "review", ROLES | {"trust_email": True})
    assert not granted({"email": "bo@example.org"}, "train", ROLES | {"trust_email": True})


@pytest.mark.parametrize(
    ("groups", "expected"),
    [(["doctors", "staff"], True), ("doctors", True), (["staff"], False), ([], False)],
)
def test_roles_by_claim(groups: object, expected: bool) -> None:
    roles = {"claim": "groups", "review": ["doctors"]}
    claims = {"email": "doctors", "groups": groups}
    assert granted(claims, "review", roles) is expected


def test_a_claim_that_was_not_sent_grants_nothing() -> None:
    assert not granted({"email": "a@b.c"}, "review", {"claim": "groups", "review": ["a@b.c"]})


@pytest.mark.parametrize(
    ("folder", "secrets", "environment", "expected"),
    [
        ("/home/me/cxrlib", {}, "", True),
        ("/mount/src/cxrlib", {}, "", False),
        ("/mount/src/cxrlib", {"training": {"enabled": True}}, "", True),
        ("/home/me/cxrlib", {"training": {"enabled": False}}, "", False),
        ("/mount/src/cxrlib", {}, "on", True),
        ("/home/me/cxrlib", {"training": {"enabled": True}}, "off", False),
        ("/home/me/cxrlib", {}, "off ", False),
        ("/home/me/cxrlib", {}, "0", False),
        ("/mount/src/cxrlib", {"training": {"enabled": "false"}}, "", False),
        ("/mount/src/cxrlib", {"training": {}}, "", False),
    ],
)
def test_training_is_off_where_everybody_shares_a_small_machine(
    monkeypatch: pytest.MonkeyPatch, folder: str, secrets: dict, environment: str, expected: bool
) -> None:
    monkeypatch.setattr(jobs, "_PROJECT", Path(folder))
    monkeypatch.setenv("CXR_TRAINING", environment)
    assert jobs.allowed(secrets, local=True) is expected


@pytest.mark.parametrize(
    ("secrets", "environment", "expected"),
    [
        ({}, "", False),
        ({"auth": {}}, "", True),  # and then roles decide
        ({}, "on", True),
        ({"training": {"enabled": True}}, "", True),
    ],
)
def test_from_other_computers_nothing_is_open_that_was_not_opened(
    monkeypatch: pytest.MonkeyPatch, secrets: dict, environment: str, expected: bool
) -> None:
    monkeypatch.setenv("CXR_TRAINING", environment)
    assert jobs.allowed(secrets, local=False) is expected


LOCAL = {"Host": "localhost:8501", "Origin": "http://localhost:8501"}


@pytest.mark.parametrize(
    ("address", "headers", "expected"),
    [
        (None, LOCAL, True),
        ("127.0.0.1", {"host": "127.0.0.1:8501"}, True),
        ("::ffff:127.0.0.1", {"Host": "[::1]:8501"}, True),
        ("172.17.0.1", LOCAL, False),  # the computer around a container
        ("192.168.1.20", {"Host": "192.168.1.5:8501"}, False),
        # Through a proxy on this machine, which may pass on the browser's host or its own.
        (None, {"Host": "xray.example.org"}, False),
        (None, {"Host": "127.0.0.1:8501", "Origin": "https://xray.example.org"}, False),
        (None, LOCAL | {"X-Forwarded-For": "203.0.113.9"}, False),
        (None, LOCAL | {"Origin": "null"}, False),
    ],
)
def test_who_sits_at_the_machine(address: str | None, headers: dict, expected: bool) -> None:
    assert from_this_machine(address, headers) is expected


@pytest.mark.browser
def test_a_visitor_through_a_proxy_is_told_which_setting_opens_the_server(app, page) -> None:
    # Behind a proxy of another name, whose host the browser's requests carry.
    url = app(
        CXR_TRAINING="",
        STREAMLIT_SERVER_ENABLE_CORS="false",
        STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION="false",
    ).replace("127.0.0.1", "xray.localhost")
    page.goto(f"{url}/training")
    page.get_by_text("CXR_TRAINING=on").wait_for()
    assert page.get_by_role("tab", name="New run").count() == 0


class Provider(ThreadingHTTPServer):
    """An OpenID Connect provider that logs in ``claims`` without asking (Core 1.0, code flow)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.key = RSAKey.generate_key(2048, {"kid": "test"})
        self.claims: dict[str, object] = {}
        self.nonces: dict[str, str] = {}


class _Answers(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(url.query))
        here = self.server.url
        if url.path == "/authorize":
            code = f"code-{len(self.server.nonces)}"
            self.server.nonces[code] = asked["nonce"]
            query = urllib.parse.urlencode({"code": code, "state": asked["state"]})
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{query}")
            self.end_headers()
        elif url.path == "/keys":
            self._say({"keys": [self.server.key.as_dict(private=False)]})
        else:
            self._say(
                {
                    "issuer": here,
                    "authorization_endpoint": f"{here}/authorize",
                    "token_endpoint": f"{here}/token",
                    "jwks_uri": f"{here}/keys",
                    "id_token_signing_alg_values_supported": ["RS256"],
                }
            )

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        code = dict(urllib.parse.parse_qsl(form))["code"]
        now = int(time.time())
        token = {
            "iss": self.server.url,
            "aud": "cxrlib",
            "iat": now,
            "exp": now + 60,
            "nonce": self.server.nonces[code],
        }
        signed = jwt.encode(
            {"alg": "RS256", "kid": "test"}, token | self.server.claims, self.server.key
        )
        self._say({"access_token": "unused", "token_type": "Bearer", "id_token": signed})

    def _say(self, answer: dict[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def guarded(app, provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app, where people log in."""
    secrets = tmp_path_factory.mktemp("guarded") / "secrets.toml"
    secrets.write_text(
        f"""\
[auth]
redirect_uri = "http://127.0.0.1:{{port}}/oauth2callback"
cookie_secret = "a secret of this test, long enough"
client_id = "cxrlib"
client_secret = "secret"
server_metadata_url = "{provider.url}/.well-known/openid-configuration"

[roles]
train = ["ada@example.org"]
delete = ["ada@example.org"]
review = ["ada@example.org", "bo@example.org"]
"""
    )
    return app(STREAMLIT_SECRETS_FILES=str(secrets))


def log_in(page, provider: Provider, email: str) -> None:
    provider.claims = {"sub": email, "email": email, "email_verified": True}
    page.get_by_role("button", name="Log in").click()
    page.get_by_text(f"Logged in as {email}").wait_for()


def visit(page, name: str) -> None:
    page.get_by_role("link", name=re.compile(name)).click()


@pytest.mark.browser
def test_nobody_trains_or_reviews_before_logging_in(guarded: str, page) -> None:
    page.goto(guarded)
    page.locator("input[type=file]").wait_for(state="attached")  # reading is for everybody
    for name in ("Train", "Reading room"):
        visit(page, name)
        page.get_by_text("Log in first").wait_for()
    assert page.get_by_role("button", name="Begin").count() == 0


@pytest.mark.browser
def test_a_role_opens_what_it_is_for(guarded: str, provider: Provider, page) -> None:
    page.goto(guarded)
    log_in(page, provider, "bo@example.org")
    visit(page, "Reading room")
    page.get_by_role("button", name="Begin").wait_for()
    page.get_by_text("Sessions are not listed here").wait_for()
    visit(page, "Train")
    page.get_by_text("Your account may not train").wait_for()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="Log in").wait_for()
    log_in(page, provider, "ada@example.org")
    visit(page, "Train")
    page.get_by_role("tab", name="New run").wait_for()
