"""A receiver of OTLP logs, built on opentelemetry-proto alone.

usage: python -m tests.otlp_receiver PORT CERTIFICATE KEY OUTPUT

What it takes is in OUTPUT, a JSON line for each log record, before it answers.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)


class Server(ThreadingHTTPServer):
    """Takes log records, unless told otherwise."""

    daemon_threads = True

    def __init__(self, port: int, certificate=None, output: Path | None = None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self.output = output
        self.taken: list[tuple[dict, dict]] = []
        self.requests: list[tuple[str, dict[str, str], int]] = []
        self.answers: list[tuple[int, bytes | None]] = []
        self.poison: set[int] = set()
        self.largest: int | None = None
        self.kind = "application/x-protobuf"

    def take(self, body: bytes) -> bytes:
        """Keep what is no poison; return the response."""
        request = ExportLogsServiceRequest.FromString(body)
        refused = 0
        for resource in request.resource_logs:
            about = attributes(resource.resource.attributes)
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    told = attributes(record.attributes)
                    if told["stead.number"] in self.poison:
                        refused += 1
                        continue
                    self.keep(about, MessageToDict(record) | {"attributes": told})
        partial = ExportLogsPartialSuccess(rejected_log_records=refused)
        return ExportLogsServiceResponse(partial_success=partial).SerializeToString()

    def keep(self, resource: dict, record: dict) -> None:
        self.taken.append((resource, record))
        if self.output is not None:
            with self.output.open("a") as file:
                file.write(json.dumps(record["attributes"]) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def numbers(self) -> list[int]:
        return [record["attributes"]["stead.number"] for _, record in self.taken]

    def handle_error(self, *_) -> None:
        """Say nothing of clients that went away."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        self.server.requests.append((self.path, dict(self.headers), length))
        status, answer = 200, None
        if self.server.answers:
            status, answer = self.server.answers.pop(0)
        elif self.server.largest is not None and length > self.server.largest:
            status, answer = 413, b""
        said = self.server.take(body) if answer is None else answer
        self.send_response(status)
        self.send_header("Content-Type", self.server.kind)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_) -> None:
        """Say nothing."""


def attributes(pairs) -> dict:
    return {pair.key: value(pair.value) for pair in pairs}


def value(given):
    kind = given.WhichOneof("value")
    if kind == "kvlist_value":
        return attributes(given.kvlist_value.values)
    if kind == "array_value":
        return [value(one) for one in given.array_value.values]
    return getattr(given, kind)


def serving(server: Server) -> threading.Thread:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    return thread


if __name__ == "__main__":
    port, *certificate, output = sys.argv[1:]
    Server(int(port), certificate, Path(output)).serve_forever()
