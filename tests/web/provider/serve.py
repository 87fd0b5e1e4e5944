"""An OpenID Connect provider on loopback until it is ended: canaille, in memory, with ada in the group ops and bob in none.

argv: the port, and where a browser may be sent back to.
"""

import sys

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from joserfc.jwk import RSAKey

PORT, BACK = int(sys.argv[1]), sys.argv[2]
PASSWORD = "correct horse battery"  # noqa: S105 of two people who do not exist
KEY = RSAKey.generate_key(2048, auto_kid=True, private=True, parameters={"alg": "RS256", "use": "sig"})


def save(model, **values):
    one = model(**values)
    Backend.instance.save(one)
    return one


app = create_app(
    {
        "SECRET_KEY": "of one run",
        "SERVER_NAME": f"127.0.0.1:{PORT}",
        "PREFERRED_URL_SCHEME": "http",
        "CANAILLE": {"DATABASE": "memory", "JAVASCRIPT": False, "HTMX": False, "SMTP": None},
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [KEY.as_dict(private=True)]},
    }
)
with app.app_context():
    ada, _ = (
        save(models.User, user_name=name, family_name=name, emails=[f"{name}@example.org"], password=PASSWORD) for name in ("ada", "bob")
    )
    save(models.Group, display_name="ops", members=[ada])
    client = save(
        models.Client,
        client_id="quarterdeck",
        client_secret="the secret",  # noqa: S106
        client_name="Quarterdeck",
        client_uri=BACK,  # on loopback it is trusted, so that nobody is asked whether it may know who signs in
        redirect_uris=[BACK],
        grant_types=["authorization_code"],
        response_types=["code"],
        scope=["openid", "profile", "email", "groups"],
        token_endpoint_auth_method="client_secret_basic",  # noqa: S106
    )
    client.audience = [client]
    Backend.instance.save(client)
app.run("127.0.0.1", PORT, threaded=True)
