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
from harness import FAMILY, Failure, Redtap, Report, agree, equal, note, now

# Sums of body bytes as they were transferred, chunk framing included.
REQUEST_BYTES = {"upload": 3 * cases.UPLOAD_BYTES, "linesplit": 5 * 4,
                 "largehead": 5 * 5000, "hundredcontinue": 3 * 5,
                 "methods": 3 * 20, "keepalive": 0, "bodiless": 0}
RESPONSE_BYTES = {"slowbody": 2 * cases.BIG, "sendfile": 2 * cases.BIG,
                  "largehead": 5 * 5000, "untilclose": 6 * 100,
                  "keepalive": sum(i % 7 for i in range(23)),
                  "bodiless": 2 * len("with a body"), "upload": 3 * 6,
                  "coalesced": sum(range(11)), "bytebybyte": 3 * 3,
                  "pipelinesegments": sum(range(13)), "serverhangsup": 0}


def sizes_agree(m, name):
    for family, sums in (("request", REQUEST_BYTES),
                         ("response", RESPONSE_BYTES)):
        if name in sums:
            equal(f"bytes of {family} bodies", m.sum(
                f"http_server_{family}_body_size_bytes_sum", job=name),
                sums[name])


def plain_agrees(m, name):
    """The plain counters say the same as the histograms."""
    for role, family in FAMILY.items():
        histogram, errors = m.select(family + "_count", job=name), 0
        for labels, n in histogram.items():
            errors += n if "error_type" in dict(labels) else 0
        equal(f"redtap_http_requests_total of the {role}",
              m.sum("redtap_http_requests_total", job=name, role=role),
              sum(histogram.values()))
        equal(f"redtap_http_request_errors_total of the {role}",
              m.sum("redtap_http_request_errors_total", job=name, role=role),
              errors)


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
                sizes_agree(delta, conversation.name)
                plain_agrees(delta, conversation.name)
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
