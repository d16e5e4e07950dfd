"""consul-canary-test-app for gRPC, and a client for it.

serve: the options and the control port of consul-canary-test-app; every method of every service answers. `status` is
gRPC's number: POST /?failure_ratio=0.5&status=14.
call: calls TARGET at a rate until SIGTERM or COUNT calls are through, and prints how many ended with which status:
{"OK": 390, "INTERNAL": 10}.

usage: grpc_app.py --port PORT --control-port PORT --name NAME --version VERSION [--seed N]
       grpc_app.py --call TARGET --rate PER_SECOND [--count N]
"""

import argparse
import collections
import concurrent.futures
import http.server
import json
import random
import signal
import threading
import time
import urllib.parse

import grpc

METHOD = "/shop.v1.Orders/GetOrder"
LOOPBACK = "127.0.0.1"


class App(grpc.GenericRpcHandler):
    def __init__(self, options):
        self._lock = threading.Lock()
        self._random = random.Random(options.seed)
        self._state = {"name": options.name, "version": options.version, "failure_ratio": 0.0, "status": 13,
                       "served": 0, "failed": 0}

    def service(self, handler_call_details):
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, request, context):
        with self._lock:
            self._state["served"] += 1
            fails = self._random.random() < self._state["failure_ratio"]
            self._state["failed"] += fails
            status = self._state["status"]
        if fails:
            code = next(code for code in grpc.StatusCode if code.value[0] == status)
            context.abort(code, "as it was told")
        return request

    def change(self, query):
        with self._lock:
            for name, text in urllib.parse.parse_qsl(query):
                self._state[name] = type(self._state[name])(text)
            return dict(self._state)


def control_of(app):
    class Control(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(app.change(urllib.parse.urlsplit(self.path).query)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    return Control


def serve(options):
    app = App(options)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), handlers=[app])
    if server.add_insecure_port(f"{LOOPBACK}:{options.port}") != options.port:
        raise SystemExit(f"port {options.port} is taken")
    server.start()
    control = http.server.ThreadingHTTPServer((LOOPBACK, options.control_port), control_of(app))
    control.serve_forever()


def call(options):
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    statuses = collections.Counter()
    method = grpc.insecure_channel(options.call).unary_unary(METHOD)
    began = time.monotonic()
    calls = []
    while not ended.wait(max(0.0, began + len(calls) / options.rate - time.monotonic())):
        if len(calls) == options.count:
            break
        calls.append(method.future(b"an order", timeout=20))
    for each in calls:
        statuses[each.code().name] += 1
    print(json.dumps(statuses))


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--port", type=int)
    parser.add_argument("--control-port", type=int)
    parser.add_argument("--name")
    parser.add_argument("--version")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--call")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--count", type=int)
    options = parser.parse_args()
    (call if options.call else serve)(options)


main()
