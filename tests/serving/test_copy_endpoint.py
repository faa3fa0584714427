"""The OpenAI-compatible writer against a real local HTTP server."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr, ValidationError

from recsys.errors import ModelError
from serving.copy_endpoint import EndpointConfig, EndpointWriter


class Handler(BaseHTTPRequestHandler):
    """Answers by the model's name."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, self.headers["Authorization"], asked))
        kind = asked["model"]
        if kind == "slow":
            time.sleep(1.0)
        if kind == "moved":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
            self.end_headers()
            return
        self.send_response(500 if kind == "broken" else 200)
        self.end_headers()
        answer = {"choices": [{"message": {"content": "echo: " + asked["messages"][0]["content"]}}]}
        body = {"odd": b'{"choices": []}', "noise": b"<html>", "huge": b" " * 400_000}.get(kind)
        self.wfile.write(body if body is not None else json.dumps(answer).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.seen = []
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def writer_for(server, model, timeout=5.0):
    url = f"http://127.0.0.1:{server.server_port}/v1/"
    return EndpointWriter(EndpointConfig(url=url, model=model, key=SecretStr("k3y"), timeout=timeout))


def test_write_answering_endpoint_gets_prompt_and_key(server):
    assert writer_for(server, "good").write("您好") == "echo: 您好"
    path, key, asked = server.seen[0]
    assert (path, key, asked["temperature"]) == ("/v1/chat/completions", "Bearer k3y", 0)


@pytest.mark.parametrize("model", ["slow", "broken", "moved", "odd", "noise", "huge"])
def test_write_failing_endpoint_raises_without_the_key(server, model):
    with pytest.raises(ModelError) as caught:
        writer_for(server, model, timeout=0.3).write("x")
    assert "k3y" not in str(caught.value)
    assert all(path == "/v1/chat/completions" for path, _, _ in server.seen)  # a redirect is not followed


def test_endpoint_config_other_scheme_is_refused():
    with pytest.raises(ValidationError, match="http"):
        EndpointConfig(url="file:///etc/passwd", model="m")
