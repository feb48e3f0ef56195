# SPDX-License-Identifier: Apache-2.0
"""
grpc_server.py PORT: gRPC of all kinds on the C core. A request is JSON: the
code to end with, messages to send, seconds to wait. On SIGTERM it prints how
often each (method, code) ended.
"""

import collections
import json
import signal
import sys
import threading
import time
from concurrent import futures

import grpc

CODES = {code.value[0]: code for code in grpc.StatusCode}
ended = collections.Counter()
lock = threading.Lock()


def note(method, code):
    with lock:
        ended[f"/proof.Calls/{method} {code}"] += 1


def until_gone(context):
    """An event that is set once the caller has gone."""
    gone = threading.Event()
    if not context.add_callback(gone.set):
        gone.set()
    return gone


def obey(method, ask, context):
    """What a request asks for, but the answer's messages."""
    if until_gone(context).wait(ask.get("wait", 0)):
        note(method, "gone")
        return False
    note(method, ask["code"])
    if ask["code"]:
        context.set_code(CODES[ask["code"]])
        context.set_details("as asked")
    return True


def unary(data, context):
    obey("Unary", json.loads(data), context)
    return b"y" * 100


def client_stream(stream, context):
    ask = [json.loads(data) for data in stream][-1]
    obey("ClientStream", ask, context)
    return b"y" * 100


def server_stream(data, context):
    ask = json.loads(data)
    for _ in range(ask.get("messages", 3)):
        yield b"z" * 1000
    obey("ServerStream", ask, context)


def bidi(stream, context):
    ask = {}
    for data in stream:
        ask = json.loads(data)
        yield b"w" * 500
    obey("Bidi", ask, context)


def late(data, context):
    """Its caller does not wait for the answer."""
    until_gone(context).wait(30)
    note("Late", "gone")
    return b""


def refused(data, context):
    """Ends before any message: an answer of trailers only."""
    ask = json.loads(data)
    note("Refused", ask["code"])
    context.abort(CODES[ask["code"]], "as asked")


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
        "proof.Calls", {
            "Unary": grpc.unary_unary_rpc_method_handler(unary),
            "ClientStream": grpc.stream_unary_rpc_method_handler(
                client_stream),
            "ServerStream": grpc.unary_stream_rpc_method_handler(
                server_stream),
            "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
            "Late": grpc.unary_unary_rpc_method_handler(late),
            "Refused": grpc.unary_unary_rpc_method_handler(refused),
        }),))
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    server.stop(1).wait()
    time.sleep(0.1)
    print(json.dumps(ended), flush=True)


main()
