# SPDX-License-Identifier: Apache-2.0
"""
What the tests of the page have in common: a browser (tests/page/browser.js), a
made fleet, and the page's numbers as text, written a second time.
"""

import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.parse

from harness import AGENT, BUILD, ROOT, Failure, Skip, check, equal, \
    eventually, http_get

MODULES = BUILD / "page-tests" / "node_modules"


def alone():
    """
    Runs this program again in a network namespace of its own, where nothing but
    loopback is: so all that passes needs no other host.
    """
    if os.environ.get("REDTAP_PAGE_ALONE"):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if os.geteuid() != 0:
        return
    os.environ["REDTAP_PAGE_ALONE"] = "1"
    os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv])


def modules():
    """Installs the driver's libraries by their lock file, if need be."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            raise Skip(f"no {program}")
    if not shutil.which("chromium") and "CHROMIUM" not in os.environ:
        raise Skip("no chromium")
    if not (MODULES / ".done").exists():
        raise Failure(f"{MODULES} is missing: make page-tests")


class Browser:
    def __init__(self, base):
        modules()
        self.base = base
        env = dict(os.environ, NODE_PATH=str(MODULES))
        self.process = subprocess.Popen(
            ["node", str(ROOT / "tests/page/browser.js")], env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self._answer()["ready"]
        self.console = []

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure("the browser ended")
        return json.loads(line)

    def do(self, command, **arguments):
        self.process.stdin.write(json.dumps({"do": command, **arguments})
                                 + "\n")
        self.process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise Failure(f"{command} {arguments}: {answer['error']}")
        return answer.get("result")

    def open(self, **arguments):
        self.do("open", **arguments)

    def goto(self, wait, **query):
        """A view by its arguments, until what is selected is there."""
        text = urllib.parse.urlencode(query)
        self.do("goto", url=self.base + ("?" + text if text else ""),
                wait=wait)

    def table(self, caption):
        """Rows as dicts by the head's texts."""
        self.do("wait", selector="table")
        table = self.do("table", caption=caption)
        if not table:
            raise Failure(f"no table {caption!r}")
        head = [h.rstrip("▾▴") or f"#{i}" for i, h in enumerate(table["head"])]
        return [dict(zip(head, row)) for row in table["rows"]]

    def text(self, selector="main"):
        return " ".join(self.do("texts", selector=selector))

    def says(self, *sentences, selector="main"):
        """Waits until all of these are in the text."""
        def found():
            text = " ".join(self.text(selector).split())
            return all(s in text for s in sentences)
        try:
            eventually("the page says it", found, timeout_s=15)
        except Failure:
            raise Failure(f"not all of {sentences} in: "
                          f"{self.text(selector)[:1500]}") from None

    def tiles(self):
        """{label: value} of the first row of figures."""
        return dict(zip(self.do("texts", selector=".tile dt"),
                        self.do("texts", selector=".tile dd .value")))

    def clean(self, allowed=()):
        """Nothing was asked of others, nothing violated, nothing thrown."""
        seen = self.do("seen")
        others = [u for u in seen["requests"]
                  if not u.startswith((self.base, "data:"))]
        equal("requests to others", others, [])
        equal("violations of the policy", seen["violations"], [])
        equal("dialogs", seen["dialogs"], 0)
        console = [c for c in seen["console"]
                   if not any(a in c for a in allowed)]
        equal("errors of the console", console, [])

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)


# --- the made fleet -----------------------------------------------------------

class Truth:
    def __init__(self, text):
        self.services, self.edges, self.total = {}, {}, 0
        for line in text.splitlines():
            word = line.split(" ")
            if word[0] == "service":
                self.services[(" ".join(word[1:-3]), word[-3])] = (
                    int(word[-2]), int(word[-1]))
            elif word[0] == "edge":
                self.edges[(word[1], word[2])] = (int(word[3]), int(word[4]))
            elif word[0] == "total":
                self.total = int(word[1])


def fleet(rt, *arguments):
    """Sends a made fleet; its truth."""
    path = rt.dir / f"{arguments[0]}.trace"
    done = subprocess.run(
        [str(BUILD / "tests/integration/shop"), str(path),
         *map(str, arguments)], capture_output=True, text=True, timeout=60,
        check=True)
    subprocess.run([str(AGENT), "replay", f"--to=tcp://127.0.0.1:{rt.ingest}",
                    str(path)], check=True, timeout=120,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return Truth(done.stdout)


def api(rt, path, **query):
    text = urllib.parse.urlencode(query)
    status, _, body = http_get(rt.web, f"/api/v1/{path}"
                               + ("?" + text if text else ""))
    equal(f"status of {path} {query}: {body[:200]}", status, 200)
    return json.loads(body)


# --- numbers as the page writes them --------------------------------------------

NONE = "–"


def half_up(x, places):
    """As JavaScript's toFixed(): exact binary value, halves away from zero."""
    from decimal import ROUND_HALF_UP, Decimal
    return str(Decimal(x).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def count(n):
    return f"{n:,}"


def digits(x):
    a = abs(x)
    if a == 0:
        return "0"
    if a >= 999.5:
        return f"{int(half_up(x, 0)):,}"
    for least, places in ((99.95, 0), (9.995, 1), (0.00995, 2)):
        if a >= least:
            return half_up(x, places)
    return f"{x:.1g}" if a >= 1e-4 else half_up(x, -math.floor(
        math.log10(a))).rstrip("0")


def trim(text):
    return text.rstrip("0").rstrip(".") if "." in text else text


def short(x):
    for unit, least, by in (("G", 1e9, 1e9), ("M", 1e6, 1e6), ("k", 1e4, 1e3)):
        if abs(x) >= least:
            return trim(half_up(x / by, 1)) + unit
    return digits(x)


def rate(x):
    return short(x) + "/s"


def percent(ratio):
    p = ratio * 100
    if p == 0:
        return "0%"
    if p < 0.01:
        return "<0.01%"
    if 99.99 < p < 100:
        return ">99.99%"
    return digits(p) + "%"


def seconds(s):
    if s is None:
        return NONE
    a = abs(s)
    if a == 0:
        return "0"
    if a < 0.0009995:
        return digits(s * 1e6) + " µs"
    if a < 0.9995:
        return digits(s * 1e3) + " ms"
    if a < 119.5:
        return digits(s) + " s"
    if a < 7200:
        return digits(s / 60) + " min"
    return digits(s / 3600) + " h" if a < 172800 else digits(s / 86400) + " d"
