#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
shop.py front|catalogue|cart|payment|visitors: a made shop for the demo. Every
service keeps count of what it answered and prints that as one line of JSON when
it gets SIGUSR1; the same visits always make the same requests. VISITS=N: the
visitors end after N visits (0: never). WATCHED_BY=URL: they begin when the
aggregator's metrics say that an agent is up.
"""

import collections
import http.client
import http.server
import json
import os
import re
import signal
import sys
import threading
import time
import urllib.request

PORT = 8080
answered = collections.Counter()
lock = threading.Lock()
local = threading.local()


def ask(service, method, path):
    """The status of a request to another service, on a connection kept."""
    conns = local.__dict__.setdefault("conns", {})
    for last in (False, True):
        conn = conns.get(service)
        if conn is None:
            conn = conns[service] = http.client.HTTPConnection(
                service, PORT, timeout=10)
        try:
            conn.request(method, path, body=b"{}" if method == "POST" else None)
            response = conn.getresponse()
            response.read()
            return response.status
        except (OSError, http.client.HTTPException):
            conns.pop(service).close()
            # A second try is another request: only if none was sent.
            if last or method == "POST":
                raise


def front(method, path):
    n = int(path.rsplit("/", 1)[-1]) if path[-1].isdigit() else 0
    if path == "/":
        return ask("catalogue", "GET", "/products")
    if path.startswith("/product/"):
        return ask("catalogue", "GET", f"/products/{n}")
    if path.startswith("/checkout/"):
        ask("cart", "POST", f"/carts/{n}/items")
        return ask("payment", "POST", "/payments/" + str(n))
    return 404


def catalogue(method, path):
    n = int(path.rsplit("/", 1)[-1]) if path[-1].isdigit() else 0
    time.sleep(0.002)
    return 404 if n % 29 == 28 else 200


def cart(method, path):
    return 201


def payment(method, path):
    n = int(path.rsplit("/", 1)[-1])
    time.sleep(0.2 if n % 11 == 10 else 0.02)
    return 502 if n % 23 == 22 else 200


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    serve = None

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            status = type(self).serve(self.command, self.path)
        except OSError:
            status = 503
        body = json.dumps({"status": status}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with lock:
            answered[f"{self.command} {status}"] += 1
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *args):
        pass


def visit(n):
    for path in ("/", f"/product/{n}", f"/product/{n + 7}"):
        answered[f"GET {ask('front', 'GET', path)}"] += 1
    if n % 3 == 0:
        answered[f"POST {ask('front', 'POST', f'/checkout/{n}')}"] += 1


def wait_for(*services):
    for service in services:
        while True:
            try:
                conn = http.client.HTTPConnection(service, PORT, timeout=2)
                conn.connect()
                conn.close()
                break
            except OSError:
                time.sleep(0.2)


def wait_for_agent(url):
    """Until an agent watches: what came before it, it can't have seen."""
    while url:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if re.search(rb"^redtap_agent_up\S* 1$", answer.read(), re.M):
                    return
        except OSError:
            pass
        time.sleep(0.5)


def visitors():
    wait_for("front", "catalogue", "cart", "payment")
    wait_for_agent(os.environ.get("WATCHED_BY"))
    end = int(os.environ.get("VISITS") or 0)
    n = 0
    while not end or n < end:
        n += 1
        visit(n)
        time.sleep(0.05)
    print("done", flush=True)
    signal.pause()


def tell(*_):
    print(json.dumps(answered), flush=True)


def main():
    role = sys.argv[1]
    signal.signal(signal.SIGUSR1, tell)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if role == "visitors":
        while True:
            visitors()
    Handler.serve = staticmethod(globals()[role])
    server = http.server.ThreadingHTTPServer(("", PORT), Handler)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main()
