#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The page in Debian's chromium, in a network namespace where nothing but
loopback is: its numbers are those of the API, of /metrics and of a made fleet,
as text; nothing is asked of others; empty states say why; keys and axe-core
pass every view.
"""

import time

import page
from harness import Redtap, Report, check, equal, eventually, http_get, note
from page import api, count, percent, rate, seconds

PORT = 21720
KEEP = {"range": "3600"}


def span_of(rt):
    """A fixed time around all that was sent: so that numbers stay."""
    end = int(time.time()) // 10 * 10 + 10
    return {"from": end - 3600, "to": end}


def sums(m, name, *labels):
    """{label values: sum} of a family of /metrics."""
    out = {}
    for have, value in m.select(name).items():
        have = dict(have)
        key = tuple(have.get(label) for label in labels)
        out[key] = out.get(key, 0) + int(value)
    return out


# --- numbers ------------------------------------------------------------------

def overview(rt, browser, truth, span):
    d = api(rt, "services", limit=1000, **span)
    m = rt.metrics()
    served = {k[0]: v for k, v in truth.services.items() if k[1] == "server"}
    s = d["services"]
    equal("services of the API",
          {n: (c, e) for n, c, e in zip(s["service"], s["count"],
                                        s["errors"])}, served)
    equal("services of /metrics",
          {k[0]: v for k, v in sums(
              m, "http_server_request_duration_seconds_count",
              "job").items()}, {n: c for n, (c, _) in served.items()})
    browser.goto("table.rows", **span)
    rows = browser.table("Services with rate, errors and durations")
    equal("rows", [r["Service"] for r in rows], s["service"])
    for i, r in enumerate(rows):
        equal(f"row of {r['Service']}", {
            k: r[k] for k in ("Requests", "Failed", "Error ratio", "Rate",
                              "p50", "p99")}, {
            "Requests": count(s["count"][i]),
            "Failed": count(s["errors"][i]),
            "Error ratio": percent(s["error_ratio"][i]),
            "Rate": rate(s["rate"][i]),
            "p50": seconds(s["p50"][i]), "p99": seconds(s["p99"][i])})
    tiles = browser.tiles()
    equal("requests", tiles["Requests"],
          count(sum(c for c, _ in served.values())))
    equal("failed", tiles["Failed"],
          count(sum(e for _, e in served.values())))
    worst = dict(zip(s["service"], s["worst_instance"]))
    equal("the worst instance of the cart", worst["shop/cart"], "cart-2")


def service(rt, browser, truth, span):
    m = rt.metrics()
    routes = sums(m, "http_server_request_duration_seconds_count", "job",
                  "http_request_method", "http_route")
    instances = sums(m, "http_server_request_duration_seconds_count", "job",
                     "instance")
    statuses = sums(m, "http_server_request_duration_seconds_count", "job",
                    "http_response_status_code", "error_type")
    for name in ("shop/cart", "shop/frontend", "billing/payment"):
        d = api(rt, "service", service=name, limit=1000, **span)
        browser.goto("table.rows", v="service", service=name, **span)
        served, failed = truth.services[(name, "server")]
        tiles = browser.tiles()
        equal("requests", tiles["Requests"], count(served))
        equal("failed", tiles["Failed"], count(failed))
        equal("p99", tiles["p99"], seconds(d["sum"]["p99"]))
        equal("points add up", sum(d["series"]["count"]), served)
        rows = browser.table(f"Routes of {name}")
        equal("routes", {r["Route"]: r["Requests"] for r in rows}, {
            k[1] + k[2]: count(v) for k, v in routes.items()
            if k[0] == name})
        rows = browser.table(f"Instances of {name}")
        equal("instances", {r["Instance"]: r["Requests"] for r in rows}, {
            k[1]: count(v) for k, v in instances.items() if k[0] == name})
        rows = browser.table("Answers by status")
        equal("statuses",
              {(r["Status"], r["Error"]): r["Requests"] for r in rows},
              {(k[1] or k[2], k[2] or page.NONE): count(v)
               for k, v in statuses.items() if k[0] == name})


def heatmap(rt, browser, truth, span):
    what = {"service": "shop/cart", "method": "GET", "route": "/carts/{id}"}
    d = api(rt, "service", cells=1, **what, **span)
    total = sums(rt.metrics(), "http_server_request_duration_seconds_count",
                 "job", "http_request_method", "http_route")[
        ("shop/cart", "GET", "/carts/{id}")]
    equal("the count of the route", d["sum"]["count"], total)
    columns = list(zip(*d["cells"]["count"]))
    equal("cells of each point", [sum(c) for c in columns],
          d["series"]["count"])
    equal("all cells", sum(map(sum, columns)), total)
    browser.goto(".heat-canvas", v="route", **what, **span)
    browser.do("click", selector=".heat button")
    rows = browser.table("Requests by time and duration")
    shown = [int(c.replace(",", "")) for r in rows
             for c in list(r.values())[1:] if c]
    equal("the sum of the cells that are shown", sum(shown), total)
    # The fullest cell, one with a single request, and the slowest.
    flat = [(n, i, t) for i, row in enumerate(d["cells"]["count"])
            for t, n in enumerate(row) if n]
    for n, i, t in (max(flat), min(flat), flat[-1]):
        low, high = d["cells"]["lower"][i], d["cells"]["upper"][i]
        start = d["series"]["start"][t]
        cell(rt, browser, {**what, **span}, n, low, high, start, d["step"])


def cell(rt, browser, what, n, low, high, start, step):
    """A cell of the heatmap lists exactly its requests."""
    browser.goto(".cell-requests table", v="route", at=start, min=low,
                 max=high, **what)
    rows = browser.table("Stored requests")
    equal("listed", len(rows), n)
    browser.says(f"{n:,} of {n:,} request" + ("" if n == 1 else "s"),
                 selector=".cell-requests")
    found = api(rt, "requests", service=what["service"], role="server",
                method=what["method"], route=what["route"], min=low, max=high,
                limit=1000, **{"from": start, "to": start + step})
    equal("matched", (found["matched"], found["complete"]), (n, True))
    r = found["requests"]
    for end, duration in zip(r["end"], r["duration"]):
        check(low < duration <= high, f"{duration} not in ({low}, {high}]")
        check(start <= end < start + step, f"{end} not in its window")
    equal("durations", [row["Duration"] for row in rows],
          [seconds(x) for x in r["duration"]])


def single(rt, browser, truth, span):
    found = api(rt, "requests", service="shop/cart", errors=1, limit=1000,
                **span)
    equal("failed requests that are stored", found["matched"],
          truth.services[("shop/cart", "server")][1]
          + truth.services.get(("shop/cart", "client"), (0, 0))[1])
    r = found["requests"]
    traced = next(i for i, t in enumerate(r["trace_id"]) if t)
    browser.goto(".facts", v="request", id=r["id"][traced])
    facts = dict(zip(browser.do("texts", selector=".facts dt"),
                     browser.do("texts", selector=".facts dd")))
    equal("node", facts["Node"], r["node"][traced])
    equal("trace id", facts["Trace id"].split(" ")[0].removesuffix("Copy"),
          r["trace_id"][traced])
    one = api(rt, "requests/" + r["id"][traced])
    equal("trace id of the API", one["trace_id"], r["trace_id"][traced])
    equal("duration", browser.do("texts", selector=".tile dd")[2],
          seconds(one["duration"]))
    slow = api(rt, "requests", order="slowest", limit=20, **span)
    every = []
    after = ""
    while True:
        part = api(rt, "requests", limit=1000, after=after, **span)
        every += list(zip(part["requests"]["id"],
                          part["requests"]["duration"]))
        after = part["next"]
        if not after:
            break
    equal("all requests, page by page", len(every), truth.total)
    equal("each once", len({i for i, _ in every}), truth.total)
    equal("the slowest", slow["requests"]["duration"],
          sorted((d for _, d in every), reverse=True)[:20])


def graph(rt, browser, truth, span):
    m = rt.metrics()
    metric = sums(m, "traces_service_graph_request_total", "client", "server")
    failed = sums(m, "traces_service_graph_request_failed_total", "client",
                  "server")
    want = {k: v[0] for k, v in truth.edges.items()}
    equal("edges of /metrics", metric, want)
    d = api(rt, "graph", **span)
    name = d["nodes"]["name"]
    edges = {(name[c], name[s]): (n, f) for c, s, n, f in zip(
        *(d["edges"][k] for k in ("client", "server", "count", "failed")))}
    equal("edges of the API", edges, {
        k: (v, failed.get(k, 0)) for k, v in metric.items()})
    equal("the sum of the edges", d["total"], sum(metric.values()))
    places = []
    for _ in range(2):
        browser.open()
        browser.goto("[data-map] [data-node]", v="map", **span)
        places.append(browser.do("evaluate", js="""[...document
            .querySelectorAll('[data-node]')].map((n) =>
            n.dataset.node + ' ' + n.dataset.at).sort()"""))
        rows = browser.table("Calls between services")
        equal("edges of the page", {
            (r["Client"], r["Server"]): (r["Requests"], r["Failed"])
            for r in rows}, {
            k: (count(v[0]), count(v[1])) for k, v in edges.items()})
    equal("places are the same in another browser", places[0], places[1])
    equal("every node has a place", len(places[0]), len(name))
    near = api(rt, "graph", focus="shop/checkout", **span)
    equal("neighbours of the checkout", set(near["nodes"]["name"]), {
        "shop/checkout"} | {c for c, s in edges if s == "shop/checkout"} | {
        s for c, s in edges if c == "shop/checkout"})


def cardinality(rt, browser, truth, span):
    view = "http_server_request_duration_seconds"
    browser.goto(".values li", v="cardinality", view=view)
    rows = {r["Metric"]: r for r in browser.table(
        "Metrics with their series and budgets")}
    labels = {r["Label"]: r for r in browser.table(f"Labels of {view}")}
    m = rt.lines("redtap_aggregator_view_")
    for column, name in (("Series", "series"), ("Budget", "series_limit"),
                         ("Asked for", "series_demand"),
                         ("Overflowed", "overflowed_requests_total"),
                         ("Idle", "series_idle")):
        equal(column, {k: r[column] for k, r in rows.items()}, {
            k[0]: count(v) for k, v in sums(
                m, "redtap_aggregator_view_" + name, "view").items()})
    for column, name in (("Values", "label_values"),
                         ("Budget", "label_values_limit"),
                         ("Asked for", "label_values_demand")):
        equal(column, {k: r[column] for k, r in labels.items()}, {
            k[1]: count(v) for k, v in sums(
                m, "redtap_aggregator_view_" + name, "view",
                "label").items() if k[0] == view})


def agents(rt, browser, truth, span):
    browser.goto("table.rows", v="agents")
    rows = {r["Node"]: r for r in browser.table("Agents by node")}
    m = rt.agents()
    for column, name in (("Captured", "events_captured_total"),
                         ("Counted", "events_counted_total"),
                         ("Lost", "events_dropped_total")):
        equal(column, {k: r[column] for k, r in rows.items()}, {
            k[0]: count(v) for k, v in sums(
                m, "redtap_agent_" + name, "node").items()})
    equal("counted in all", sum(
        int(r["Counted"].replace(",", "")) for r in rows.values()),
        truth.total)


# --- how it behaves -------------------------------------------------------------

VIEWS = (
    ("overview", {}, "table.rows"),
    ("service", {"v": "service", "service": "shop/cart"}, "table.rows"),
    ("route", {"v": "route", "service": "shop/cart", "method": "GET",
               "route": "/carts/{id}"}, ".heat-canvas"),
    ("requests", {"v": "requests", "service": "shop/cart"}, "table.rows"),
    ("map", {"v": "map"}, "[data-map] [data-node]"),
    ("agents", {"v": "agents"}, "table.rows"),
    ("tail", {"v": "tail"}, ".empty"),
    ("cardinality", {"v": "cardinality",
                     "view": "redtap_http_requests"}, ".values li"),
    ("gaps", {"v": "gaps"}, ".facts"),
)


def accessible(rt, browser, span, width, dark):
    browser.open(width=width, dark=dark)
    for name, query, wait in VIEWS:
        browser.goto(wait, **query, **span)
        equal(f"axe-core on {name}", browser.do("axe"), [])
        wide = browser.do("evaluate", js="document.documentElement"
                          ".scrollWidth - innerWidth")
        check(wide <= 0, f"{name} is {wide} pixels wider than the window")
    browser.clean()


def keys(rt, browser, span):
    """All views by keys alone, and from the table to a request."""
    browser.open()
    browser.goto("table.rows", **span)
    for key, view in (("m", "map"), ("a", "agents"), ("t", "tail"),
                      ("c", "cardinality"), ("p", "gaps"), ("o", None)):
        browser.do("press", keys=["g", key])
        eventually(f"g {key}", lambda v=view: browser.do(
            "evaluate", js="new URLSearchParams(location.search).get('v')")
            == v, timeout_s=10)
    browser.do("wait", selector="table.rows")
    browser.do("press", keys=["/"])
    browser.do("type", text="cart")
    eventually("one row", lambda: len(browser.table(
        "Services with rate, errors and durations")) == 1, timeout_s=10)
    browser.do("press", keys=["Escape", "j", "Enter"])
    browser.do("wait", selector="table.rows tbody a.route")
    browser.do("press", keys=["j", "k", "j", "Enter"])
    browser.do("wait", selector=".heat-canvas")
    browser.do("evaluate",
               js="document.querySelector('.heat-canvas').focus()")
    for _ in range(400):  # the nearest cell that has requests
        browser.do("press", keys=["Enter"])
        if browser.do("evaluate", js="new URLSearchParams(location.search)"
                      ".has('at')"):
            break
        browser.do("press", keys=["ArrowUp"])
        if browser.do("evaluate", js="(document.querySelector('.legend"
                      "[aria-live]').textContent.endsWith(': 0'))") and \
                _ % 40 == 39:
            browser.do("press", keys=["ArrowLeft"]
                       + ["ArrowDown"] * 40)
    browser.do("wait", selector=".cell-requests tbody a")
    browser.do("press", keys=["j"])
    while not browser.do("evaluate", js="!!document.activeElement"
                         ".closest('.cell-requests')"):
        browser.do("press", keys=["j"])
    browser.do("press", keys=["Enter"])
    browser.do("wait", selector=".facts")
    browser.do("press", keys=["?"])
    browser.do("wait", selector="dialog[open]")
    browser.do("press", keys=["Escape"])
    eventually("the keys are closed", lambda: not browser.do(
        "evaluate", js="!!document.querySelector('dialog[open]')"),
        timeout_s=5)


def hidden(rt, browser, span):
    """A hidden tab asks nothing; it asks when it is shown again."""
    browser.open()
    browser.goto("table.rows", refresh="2", **KEEP)
    set_hidden = """Object.defineProperty(document, 'hidden', {value: %s,
        configurable: true}); document.dispatchEvent(
        new Event('visibilitychange'))"""
    time.sleep(0.3)
    browser.do("evaluate", js=set_hidden % "true")
    browser.do("forget")
    time.sleep(5)
    equal("requests of a hidden tab", browser.do("seen")["requests"], [])
    browser.do("evaluate", js=set_hidden % "false")
    eventually("it asks again", lambda: browser.do("seen")["requests"],
               timeout_s=5)
    equal("one question a refresh", len(browser.do("seen")["requests"]), 1)


def assets(rt):
    """All from the binary alone; small, and kept for ever."""
    status, headers, body = http_get(rt.web, "/",
                                     {"Accept-Encoding": "gzip"})
    equal("status", status, 200)
    import re
    links = re.findall(r'(?:src|href)="(assets/[^"]+)"', body.decode())
    equal("linked", len(links), 2)
    script = http_get(rt.web, "/" + next(
        x for x in links if x.endswith(".js")))[2].decode()
    links += re.findall(r'"(assets/layout-[0-9a-f]+\.js)"', script)[:1]
    total = 0
    for path in links:
        status, headers, packed = http_get(
            rt.web, "/" + path, {"Accept-Encoding": "gzip"})
        equal(f"status of {path}", status, 200)
        equal("encoding", headers["Content-Encoding"], "gzip")
        check("immutable" in headers["Cache-Control"], headers)
        plain = http_get(rt.web, "/" + path)[2]
        import gzip
        equal(f"{path} for a client without gzip", plain,
              gzip.decompress(packed))
        total += len(packed)
    note(f"page: {total} bytes gzipped")
    check(total <= 90 * 1024, f"{total} bytes are more than 90 KiB")
    equal("an asset that is not there",
          http_get(rt.web, "/assets/../../etc/passwd")[0], 404)
    policy = http_get(rt.web, "/")[1]["Content-Security-Policy"]
    for part in ("default-src 'none'", "script-src 'self'",
                 "style-src 'self'", "frame-ancestors 'none'",
                 "require-trusted-types-for 'script'"):
        check(part in policy, policy)


def without_script(rt, browser):
    browser.open(script=False)
    browser.goto("main")
    links = browser.do("texts", selector="main a")
    check({"Metrics", "Windows", "services", "agents", "Health"}
          <= set(links), links)


def tags(rt):
    """An answer that has not changed is a 304, for its own tag only."""
    path = "/api/v1/gaps"
    status, headers, body = http_get(rt.web, "/api/v1/service?service=shop%2F"
                                     "cart&from=100&to=200")
    equal("status", status, 200)
    tag = headers["ETag"]
    again = http_get(rt.web, "/api/v1/service?service=shop%2Fcart&from=100"
                     "&to=200", {"If-None-Match": tag})
    check(again[0] in (200, 304), again[0])
    status, headers, _ = http_get(rt.web, "/")
    equal("the page again", http_get(
        rt.web, "/", {"If-None-Match": headers["ETag"]})[0], 304)
    equal("another's tag", http_get(
        rt.web, "/", {"If-None-Match": '"0123"'})[0], 200)
    check("no-cache" in headers["Cache-Control"], headers["Cache-Control"])
    equal("a tag of another answer", http_get(
        rt.web, path, {"If-None-Match": tag})[0], 200)


# --- empty states, by making their causes ---------------------------------------

def empty_without_agents(rt, browser):
    browser.open()
    browser.goto(".empty")
    browser.says("No agent has reported yet", "redtap-agent run",
                 "Setup step by step")
    browser.goto(".empty", v="agents")
    browser.says("No agent has reported yet")
    browser.goto(".empty", v="map")
    browser.says("No calls in this time", "15 seconds after")
    browser.goto(".empty", v="gaps")
    browser.says("No agent has reported yet")
    browser.goto(".empty", v="requests")
    browser.says("No stored request matches", "retention.raw_age_s")
    browser.goto(".empty", v="cardinality",
                 view="http_server_request_duration_seconds")
    browser.says("No series yet", "No service asked yet")
    browser.clean()


def empty_without_requests(rt, browser):
    page.fleet(rt, "idle", 0)
    browser.open()
    browser.goto(".empty")
    browser.says("The agents have seen no HTTP request yet",
                 "4 agents reported", "what is not captured here")


def empty_by_filter(rt, browser, span):
    browser.open()
    browser.goto(".empty", filter="no such", **span)
    browser.says("No service matches", "“no such”", "Show all services")
    browser.goto(".empty", filter="reviews", errors="1", **span)
    browser.says("No service matches")
    browser.goto(".empty", **{"from": 1000000, "to": 1003600})
    browser.says("was served in this time", "Show the last 24 hours")
    browser.goto(".empty", v="service", service="shop/cart",
                 **{"from": 1000000, "to": 1003600})
    browser.says("No requests in this time", "No client called it in this time",
                 "It called no server in this time")
    browser.goto(".empty", v="agents", filter="no such")
    browser.says("No node matches", "Show all agents")
    browser.goto(".empty", v="map", focus="no such", **span)
    browser.says("No calls to or from it in this time")
    browser.goto(".empty", v="request", id="999999-0")
    browser.says("This request is no longer kept")
    browser.goto(".empty", v="tail")
    browser.says("Waiting for requests", "within 2 seconds")
    browser.clean(allowed=("404 (Not Found)",))


def troubles(rt, browser, span):
    """What goes wrong stands above the last answer, which stays."""
    browser.open()
    browser.goto("table.rows", refresh="2", **KEEP)
    rt.aggregator.stop()
    browser.do("wait", selector=".trouble")
    browser.says("No connection", "What is shown is the last answer")
    check(browser.table("Services with rate, errors and durations"),
          "the table is gone")
    rt.start_aggregator()
    eventually("the trouble is over", lambda: not browser.do(
        "texts", selector=".trouble"), timeout_s=20)
    browser.open()
    browser.goto(".trouble", v="service", service="x", range="17x")
    browser.says("not 10 seconds to 31 days (range)")


def switched_off(rt, browser):
    rt.aggregator.stop()
    rt.aggregator_flags = ["--web.tail=off"]
    rt.start_aggregator()
    browser.open()
    browser.goto(".tabs")
    check("Tail" not in browser.do("texts", selector=".tabs a"),
          "there is a tab for the tail")
    browser.goto(".empty", v="tail")
    browser.says("The tail is switched off here")
    equal("the API", http_get(rt.web, "/api/v1/tail")[0], 403)
    rt.aggregator.stop()
    rt.aggregator_flags = ["--web.page=off"]
    rt.start_aggregator()
    status, _, body = http_get(rt.web, "/")
    equal("status", status, 200)
    check(b"./metrics" in body and b"assets/" not in body, body)
    equal("no assets", http_get(rt.web, "/assets/main.js")[0], 404)
    rt.aggregator.stop()
    rt.aggregator_flags = []
    rt.start_aggregator()


def services_of(rt):
    d = api(rt, "services", range=3600, limit=1000)["services"]
    return list(zip(d["service"], d["count"]))


def names(rt, browser):
    truth = page.fleet(rt, "names", 2)
    eventually("all is in windows", lambda: sum(
        n for s, n in services_of(rt) if (s, "server") in truth.services)
        == truth.total)
    browser.open()
    browser.goto("table.rows", range="3600", limit="100")
    rows = browser.table("Services with rate, errors and durations")
    for (name, role), (n, _) in truth.services.items():
        row = next((r for r in rows if r["Service"] == name), None)
        check(row, f"{name[:60]!r} is not there as text")
        equal(name[:60], row["Requests"], count(n))
        browser.goto("table.rows", v="service", service=name, range="3600")
        equal(f"requests of {name[:60]}", browser.tiles()["Requests"],
              count(n))
        browser.goto("table.rows", v="requests", service=name, range="3600")
        browser.goto("table.rows", range="3600", limit="100")
    equal("images", browser.do("evaluate",
                               js="document.images.length"), 0)
    check("owned" not in browser.do("evaluate", js="document.title"),
          "a name ran as a script")
    browser.clean()


NUMBERS = (
    ("the overview's numbers are those of the API, of /metrics and of the "
     "fleet", overview),
    ("a service's routes, instances and statuses are those of /metrics",
     service),
    ("the heatmap adds up to the count, and a cell lists exactly its requests",
     heatmap),
    ("a request's facts are those that are stored; the list has each once",
     single),
    ("edges add up to the graph's metric; the same data has the same places",
     graph),
    ("the cardinality explorer's numbers are those of /metrics", cardinality),
    ("the agents' numbers are those of /metrics", agents),
)


def finish_edges(rt):
    """One more call, by which what waits in the graph is too old."""
    import subprocess
    from harness import BUILD
    subprocess.run([str(BUILD / "tests/integration/push"),
                    f"tcp://127.0.0.1:{rt.ingest}", "pusher", "edges"],
                   input=b"1000 200 0\n", check=True, timeout=30)


def run(report, rt, browser):
    with report.case("without agents, every view says so and what to do"):
        empty_without_agents(rt, browser)
    with report.case("agents without requests are not the same as no agents"):
        empty_without_requests(rt, browser)
    truth = page.fleet(rt, "shop", 10, 40)
    finish_edges(rt)
    truth.services[("pushed", "server")] = (1, 0)
    truth.services[("caller", "client")] = (1, 0)
    truth.edges[("caller", "pushed")] = (1, 0)
    truth.total += 2
    eventually("all is in windows", lambda: api(
        rt, "services", range=3600)["sum"]["count"] == sum(
        c for (_, role), (c, _) in truth.services.items()
        if role == "server"))
    span = span_of(rt)
    browser.open()
    for sentence, fn in NUMBERS:
        with report.case(sentence):
            fn(rt, browser, truth, span)
            browser.clean()
    for sentence, fn in (
            ("what matches nothing says why, and leads back",
             lambda: empty_by_filter(rt, browser, span)),
            ("the page is small, complete in the binary, and under its policy",
             lambda: assets(rt)),
            ("without JavaScript the links are there",
             lambda: without_script(rt, browser)),
            ("an unchanged answer is a 304, by its own tag only",
             lambda: tags(rt)),
            ("a hidden tab asks nothing",
             lambda: hidden(rt, browser, span)),
            ("keys alone lead through every view to a request",
             lambda: keys(rt, browser, span)),
            ("names with markup, right to left or very long stay text",
             lambda: names(rt, browser)),
            ("a lost aggregator is named above the last answer",
             lambda: troubles(rt, browser, span)),
            ("the tail and the page can be switched off",
             lambda: switched_off(rt, browser))):
        with report.case(sentence):
            fn()
    for width in (390, 820, 1440):
        for dark in (False, True):
            with report.case(f"axe-core finds nothing at {width} pixels, "
                             + ("dark" if dark else "light")):
                accessible(rt, browser, span, width, dark)


def main():
    page.alone()
    report = Report()
    with Redtap(PORT) as rt:
        rt.start_aggregator()
        try:
            browser = page.Browser(f"http://127.0.0.1:{PORT}/")
        except Exception as e:  # a Skip, too
            with report.case("the page in a browser"):
                raise e
            report.exit()
        note(f"chromium {browser.version}")
        run(report, rt, browser)
        browser.close()
    report.exit()


if __name__ == "__main__":
    main()
