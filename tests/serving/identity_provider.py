"""An identity provider: real keys, published over a real socket, and the tokens that it signs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER = "https://login.bank.example"
AUDIENCE = "https://api.bank.example/recommendations"


class Key:
    """A private key and its public half as a JWK."""

    def __init__(self, key_id: str, algorithm: str = "RS256", bits: int = 2048) -> None:
        self.key_id = key_id
        self.algorithm = algorithm
        if algorithm == "RS256":
            self.private: Any = rsa.generate_private_key(65537, bits)
            maker: Any = jwt.algorithms.RSAAlgorithm
        else:
            self.private = ec.generate_private_key(ec.SECP256R1())
            maker = jwt.algorithms.ECAlgorithm
        public = maker.to_jwk(self.private.public_key(), as_dict=True)
        self.jwk = {**public, "kid": key_id, "use": "sig", "alg": algorithm}

    def sign(self, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A token of the customer `anna` that may read, unless `changes` says otherwise (None: without the claim)."""
        now = datetime.now(UTC)
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "app-7", "iat": now, "exp": now + timedelta(minutes=5)}
        claims |= {"scope": "recommendations:read events:write", "customer_id": "anna"} | changes
        present = {name: value for name, value in claims.items() if value is not None}
        named = {"kid": self.key_id} | (header or {})
        headers = {name: value for name, value in named.items() if value is not None}
        return jwt.encode(present, self.private, self.algorithm, headers)


class Provider:
    """What the endpoint answers, and how often it was asked."""

    def __init__(self, *keys: Key) -> None:
        self.keys = [key.jwk for key in keys]
        self.status = 200
        self.asked = 0
        self.delay = threading.Event()
        self.delay.set()
        self.url = ""

    def document(self) -> bytes:
        """The key set."""
        return orjson.dumps({"keys": self.keys})


@contextmanager
def publishing(provider: Provider) -> Iterator[Provider]:
    """The provider's endpoint on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked += 1
            provider.delay.wait(10)
            self.send_response(provider.status)
            self.end_headers()
            self.wfile.write(provider.document())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        provider.url = f"http://127.0.0.1:{server.server_port}/jwks"
        try:
            yield provider
        finally:
            provider.delay.set()
            server.shutdown()
