# SPDX-License-Identifier: Apache-2.0
"""Sentences that tests print, and what makes one fail."""

import contextlib
import os
import sys
import time
import traceback

# How many times slower than usual this machine is.
PATIENCE = float(os.environ.get("REDTAP_PATIENCE", "1"))

now = time.monotonic


class Failure(Exception):
    """A test found a difference; the message says which."""


class Skip(Exception):
    """This machine lacks what the test needs; the message says what."""


class Report:
    def __init__(self):
        self.failed = 0

    def ok(self, sentence):
        print(f"ok - {sentence}", flush=True)

    def not_ok(self, sentence, detail):
        self.failed += 1
        detail = str(detail).rstrip().replace("\n", "\n#   ")
        print(f"not ok - {sentence}: {detail}", flush=True)

    def skip(self, sentence, reason):
        print(f"skip - {sentence}: {reason}", flush=True)

    @contextlib.contextmanager
    def case(self, sentence):
        """One sentence: ok unless the block raises."""
        try:
            yield
        except Skip as e:
            self.skip(sentence, e)
        except Failure as e:
            self.not_ok(sentence, e)
        except Exception:
            self.not_ok(sentence, traceback.format_exc())
        else:
            self.ok(sentence)

    def exit(self):
        sys.exit(1 if self.failed else 0)


def note(text):
    """A figure for people; no result."""
    print(f"# {text}", flush=True)


def equal(what, got, want):
    if got != want:
        raise Failure(f"{what}: got {got!r}, want {want!r}")


def check(condition, message):
    if not condition:
        raise Failure(message)


def eventually(what, probe, timeout_s=60.0, every_s=0.05):
    """The first true answer of probe(); Failure after timeout_s."""
    timeout_s *= PATIENCE
    end = now() + timeout_s
    while True:
        last = probe()
        if last:
            return last
        if now() > end:
            raise Failure(f"{what}: not within {timeout_s} s")
        time.sleep(every_s)
