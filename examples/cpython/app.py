"""A web server in ordinary Python: `http.server` of the standard library, listening on a pod's port.

componentize-py turns it into a WebAssembly component. Whatever the program uses must be imported when it is built, which
is why the imports are all up here, even of the codec that `HTTPServer` asks for when it looks up its own name. There are
no threads, so requests are answered one after the other.
"""

import encodings.idna  # noqa: F401
import json
import os
import platform
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import wit_world
from wit_world import exports


class Greeter(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/json":
            body = json.dumps({"python": platform.python_version(), "platform": sys.platform, "path": self.path})
            self.answer(200, "application/json", body)
        elif self.path == "/":
            host = os.environ.get("HOSTNAME", "somewhere")
            self.answer(200, "text/plain", f"Hello from CPython {platform.python_version()} on {sys.platform} at {host}\n")
        else:
            self.answer(404, "text/plain", "not here\n")

    def answer(self, status, content_type, body):
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        print(self.client_address[0], format % arguments, flush=True)


class Run(exports.Run):
    def run(self) -> None:
        port = int(os.environ.get("PORT", "8080"))
        print(f"CPython {platform.python_version()} serves on port {port}", flush=True)
        HTTPServer(("0.0.0.0", port), Greeter).serve_forever()
