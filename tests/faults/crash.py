#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Proofs 1 and 2 of docs/GUARANTEES.md: kill -9 of the aggregator, of agents, of
both, KILLS times each; then what a network can do. The last line adds up all of
them; if one failed it says so, with what that one had counted.

	crash.py [KILLS [SECONDS_OF_CUT [PORT]]]
"""

import subprocess
import sys

import network
from fleet import AGGREGATOR, CRASH, Failure, Wrong, equal


def killed(who, kills, port):
    """(sent, counted) of one run of crash.c, which judges by itself."""
    out = subprocess.run(
        [CRASH, f"--who={who}", f"--kills={kills}", f"--port={port}",
         f"--aggregator={AGGREGATOR}"], stdout=subprocess.PIPE, text=True,
        check=False)
    words = out.stdout.splitlines()
    for line in words:
        if line.startswith("# "):
            print(line, flush=True)
    if not words or not words[-1].startswith("crash: kills="):
        raise Failure(f"{who} killed: it ended without a figure")
    figures = dict(word.split("=") for word in words[-1].split()[1:])
    if out.returncode != 0:
        raise Wrong(f"{who} killed: {words[-1]}",
                    *(int(figures[k]) for k in ("sent", "counted", "lost",
                                                "twice")))
    return int(figures["sent"]), int(figures["counted"])


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 30
    port = int(sys.argv[3]) if len(sys.argv) > 3 else 21900
    proofs = (
        (f"kill -9 of the aggregator, {kills} times",
         lambda: killed("aggregator", kills, port)),
        (f"kill -9 of agents with an outbox on disk, {kills} times",
         lambda: killed("agents", kills, port)),
        (f"kill -9 of both in turn, {kills} times",
         lambda: killed("both", kills, port)),
        (f"the network cut for {seconds:.0f} s",
         lambda: network.cut(port, seconds)),
        ("replies lost after the commit",
         lambda: network.lost_replies(port)),
        ("a client that repeats, reorders and invents",
         lambda: network.hostile(port)),
    )
    sent = counted = lost = twice = failed = unknown = 0
    for sentence, proof in proofs:
        missing = again = 0
        try:
            s, c = proof()
            equal("requests counted", c, s)
            print(f"ok - {sentence}: sent={s} counted={c}", flush=True)
        except Wrong as e:
            failed += 1
            s, c, missing, again = e.sent, e.counted, e.lost, e.twice
            print(f"not ok - {sentence}: {e}", flush=True)
        except Exception as e:  # pylint: disable=broad-except
            failed += 1
            unknown += 1
            s = c = 0
            print(f"not ok - {sentence}: {e}", flush=True)
        sent, counted = sent + s, counted + c
        lost, twice = lost + missing, twice + again
    print(f"crash: kills={kills} sent={sent} counted={counted} lost={lost} "
          f"twice={twice}" + (f" failed={failed}" if failed else "")
          + (f" without_a_figure={unknown}" if unknown else ""))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
