# SPDX-License-Identifier: Apache-2.0
"""
The conversations of 10_http_cases.py. `cases.py NAME PORT` holds one between
two processes of its own and prints what each side did: one JSON line per
request and role. Both clocks are CLOCK_MONOTONIC, so the other side's stamps
bound a duration strictly:

  server: from before the answer is computed to after its last write, but not
          longer than from the client's first write
  client: at least what the server took, at most what the client saw
"""

import json
import os
import signal
import sys

import cases_bodies
import cases_edges
import cases_ends
import cases_heads
from results import PATIENCE
from talk import CASES, EDGES, Side

BIG, UPLOAD_BYTES = cases_bodies.BIG, cases_bodies.UPLOAD_BYTES
ROUTE_CAP, MANY_ROUTES = cases_edges.ROUTE_CAP, cases_edges.MANY_ROUTES
BAD_REQUESTS, BAD_RESPONSES = cases_edges.BAD_REQUESTS, \
    cases_edges.BAD_RESPONSES
assert cases_ends and cases_heads  # they register themselves


def join(rows):
    """The stamps of both roles of a request bound its durations."""
    by = {}
    for row in rows:
        by.setdefault(row["id"], {})[row["role"]] = row
    for row in rows:
        server = by[row["id"]].get("server")
        client = by[row["id"]].get("client")
        low, end = row["low"], row["end"]
        if row["status"] and not row["error"]:
            low = server["low"]
        if row["error"] == "aborted":
            # It ends when the kernel has seen the last of both sides.
            end = max(server["end"], client["end"]) + 0.01
        out = {k: row[k] for k in ("role", "method", "route", "status",
                                   "error", "version")}
        out["low_s"] = max(0.0, low)
        out["high_s"] = end - client["begin"]
        yield out


def main():
    name, port = sys.argv[1], int(sys.argv[2])
    signal.alarm(int(30 * PATIENCE))
    side = Side(port)
    server, client = {**CASES, **EDGES}[name](side)
    r, w = os.pipe()
    done_r, done_w = os.pipe()
    side.wait_peer = lambda: os.read(done_r, 1)
    if os.fork() == 0:
        signal.alarm(int(30 * PATIENCE))
        client()
        os.close(done_r)
        os.write(done_w, b"!")
        with os.fdopen(w, "w") as f:
            f.write(json.dumps(side.rows) + "\n")
        sys.stdin.read()
        os._exit(0)
    os.close(w)
    server()
    with os.fdopen(r) as f:
        side.rows += json.loads(f.readline())
    for row in join(side.rows):
        print(json.dumps(row))
    print("end", flush=True)
    # Stay until told, so that the agent can see who we were.
    sys.stdin.read()


if __name__ == "__main__":
    main()
