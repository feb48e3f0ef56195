#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
HTTP/1 conversations with exact counts, method, route, status, error and
bounded durations, for both roles. Each runs in two processes of its own whose
service name is the case's, so that one start of agent and aggregator serves
all of them.
"""

import sys

import cases
from conversation import hold
from harness import Failure, Redtap, Report, agree, equal, note, now

def main():
    report = Report()
    names = sys.argv[1:] or list(cases.CASES)
    with Redtap(web=21400) as rt:
        with report.case("agent and aggregator start"):
            rt.start()
        if report.failed:
            report.exit()
        before = rt.metrics()
        begin = now()
        held = hold(names)
        quiet = None
        with report.case("after the conversations captured = counted + "
                         "dropped, dropped = 0"):
            try:
                quiet = rt.quiet()
            except Failure:
                quiet = rt.metrics()
                raise
            finally:
                for conversation in held:
                    conversation.end()
            equal("dropped", rt.audit(quiet.minus(before))[2], 0)
        note(f"{len(names)} conversations in {now() - begin:.1f} s")
        delta = quiet.minus(before)
        for conversation in held:
            sentence = " ".join(cases.CASES[conversation.name].__doc__.split())
            with report.case(f"{conversation.name}: {sentence}"):
                if conversation.wrong:
                    raise Failure(conversation.wrong)
                agree(delta, conversation.name, conversation.rows)
        with report.case("all requests that the agent counts are the "
                         "drivers' own"):
            if any(c.wrong for c in held):
                raise Failure("drivers failed, see above")
            equal("counted", rt.audit(delta)[1],
                  sum(len(c.rows) for c in held))
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()
