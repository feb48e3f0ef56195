#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Makes docs/pictures: views of the page over an hour of a made fleet, light and
dark. Run by `make page-pictures`.
"""

import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

import page  # noqa: E402
from harness import Redtap  # noqa: E402

PORT = 21790
OUT = ROOT / "docs/pictures"
VIEWS = (
    ("overview", False, ".spark", {}),
    ("overview-dark", True, ".spark", {}),
    ("service", False, ".plot canvas",
     {"v": "service", "service": "shop/cart"}),
    ("map", True, "svg .node", {"v": "map"}),
)


def main():
    OUT.mkdir(exist_ok=True)
    with Redtap(PORT) as rt:
        rt.start_aggregator()
        page.fleet(rt, "shop", 120, 5)
        browser = page.Browser(f"http://127.0.0.1:{PORT}/")
        for name, dark, wait, query in VIEWS:
            browser.open(width=1280, height=720, dark=dark)
            browser.goto(wait, range="3600", **query)
            time.sleep(1)  # charts and the map's layout are drawn
            browser.do("screenshot", full=False, path=str(OUT / f"{name}.png"))
        browser.close()


if __name__ == "__main__":
    main()
