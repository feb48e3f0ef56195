# SPDX-License-Identifier: Apache-2.0
"""
grpc_client.py PORT ROUNDS [ROUNDS]: every kind of call with every code, then
cancelled calls, missed deadlines and a method that the server does not have.
Prints how often each (method, code) ended, and how long a stream of 3 s took.
The second time, after a line of input, only answered calls are made.
"""

import collections
import json
import sys
import time

import grpc

channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}")
ended = collections.Counter()


def ask(**what):
    return json.dumps(what).encode()


def end(method, code):
    ended[f"/proof.Calls/{method} {code}"] += 1


def call(kind, method, request, **options):
    """Makes a call to its end. Returns its code."""
    try:
        got = getattr(channel, kind)(f"/proof.Calls/{method}")(
            request, **options)
        if "stream" == kind.rpartition("_")[2]:
            for _ in got:
                pass
        code = 0
    except grpc.RpcError as e:
        code = e.code().value[0]
    end(method, code)
    return code


def cancel():
    got = channel.unary_stream("/proof.Calls/ServerStream")(
        ask(code=0, messages=1, wait=30))
    next(got)
    got.cancel()
    end("ServerStream", "cancelled")


def answered():
    for code in range(17):
        one = ask(code=code)
        call("unary_unary", "Unary", one)
        call("stream_unary", "ClientStream", iter([one] * 3))
        call("unary_stream", "ServerStream", one)
        call("stream_stream", "Bidi", iter([one] * 3))
        if code:
            call("unary_unary", "Refused", one)


for _ in range(int(sys.argv[2])):
    answered()
    call("unary_unary", "Missing", ask(code=0))
    cancel()
    if call("unary_unary", "Late", b"", timeout=0.2) != 4:
        raise SystemExit("a deadline was not missed")

begun = time.monotonic()
call("unary_stream", "ServerStream", ask(code=0, messages=1, wait=3))
took = time.monotonic() - begun
print(json.dumps({"ended": ended, "took": took}), flush=True)
if len(sys.argv) > 3:
    sys.stdin.readline()
    ended.clear()
    for _ in range(int(sys.argv[3])):
        answered()
    print(json.dumps({"ended": ended}), flush=True)
sys.stdin.read()
