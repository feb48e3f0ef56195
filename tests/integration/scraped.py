# SPDX-License-Identifier: Apache-2.0
"""What the endpoint shows, read strictly."""

import re

from results import check

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')
VALUE = re.compile(r"[+-]?(?:[0-9.]+(?:[eE][+-]?[0-9]+)?|Inf|NaN)$")
ESCAPE = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
SUFFIXES = ("_bucket", "_sum", "_count")


class Metrics:
    """One parsed scrape: {name: {labels as sorted tuple: value}}."""

    def __init__(self, text=""):
        self.families = {}
        self.samples = {}
        if text:
            self._parse(text)
            self._check_histograms()

    def _parse(self, text):
        check(text.endswith("\n"), "the last line does not end in a newline")
        current = None
        seen = set()
        for number, line in enumerate(text[:-1].split("\n"), 1):
            where = f"line {number}: {line[:120]!r}"
            if line.startswith("# "):
                word, name, rest = line[2:].split(" ", 2)
                check(word in ("HELP", "TYPE"), f"a stray comment, {where}")
                if name != current:
                    check(name not in seen, f"family split, {where}")
                    seen.add(name)
                    current = name
                entry = self.families.setdefault(name, {})
                check(word not in entry, f"{word} twice, {where}")
                entry[word] = rest
                continue
            name, labels, value = self._sample(line, where)
            family = name
            if self.families.get(current, {}).get("TYPE") == "histogram":
                for suffix in SUFFIXES:
                    if name == current + suffix:
                        family = current
            check(family == current, f"sample outside its family, {where}")
            series = self.samples.setdefault(name, {})
            check(labels not in series, f"label set twice, {where}")
            series[labels] = value
        for name, entry in self.families.items():
            check(set(entry) == {"HELP", "TYPE"}, f"{name}: {entry}")

    @staticmethod
    def _sample(line, where):
        match = NAME.match(line)
        check(match, f"no metric name, {where}")
        name, pos, labels = match.group(), match.end(), []
        if line[pos:pos + 1] == "{":
            pos += 1
            while line[pos] != "}":
                match = LABEL.match(line, pos)
                check(match, f"bad label, {where}")
                raw = match.group(2)
                labels.append((match.group(1), re.sub(
                    r"\\.", lambda m: ESCAPE[m.group()], raw)))
                pos = match.end()
                if line[pos] == ",":
                    pos += 1
            pos += 1
        check(line[pos:pos + 1] == " ", f"no value, {where}")
        value = line[pos + 1:]
        check(VALUE.match(value), f"bad value or a timestamp, {where}")
        keys = [k for k, _ in labels]
        check(len(set(keys)) == len(keys), f"label twice, {where}")
        return name, tuple(sorted(labels)), float(value)

    def _check_histograms(self):
        for name, entry in self.families.items():
            if entry["TYPE"] != "histogram":
                continue
            for labels, count in self.samples.get(name + "_count",
                                                  {}).items():
                buckets = self.buckets(name, dict(labels))
                values = [v for _, v in buckets]
                check(values == sorted(values),
                      f"{name}{dict(labels)}: buckets not cumulative")
                check(buckets and buckets[-1] == (float("inf"), count),
                      f"{name}{dict(labels)}: +Inf is not the count {count}")

    def buckets(self, name, labels):
        """[(bound, cumulative count)] of the series with these labels."""
        if not hasattr(self, "_by_series"):
            self._by_series = {}
            for family, series in self.samples.items():
                if not family.endswith("_bucket"):
                    continue
                for key, value in series.items():
                    rest = tuple(kv for kv in key if kv[0] != "le")
                    le = dict(key)["le"]
                    check(le == "+Inf" or "." in le or "e" in le,
                          f"{family}: le={le!r} is not a float")
                    self._by_series.setdefault((family, rest), []).append(
                        (float(le), value))
        key = (name + "_bucket", tuple(sorted(labels.items())))
        return sorted(self._by_series.get(key, []))

    def select(self, name, **want):
        """{labels: value} of the series whose labels contain want."""
        items = set(want.items())
        return {labels: value
                for labels, value in self.samples.get(name, {}).items()
                if items <= set(labels)}

    def sum(self, name, **want):
        return sum(self.select(name, **want).values())

    def minus(self, before):
        """The increase since `before`, series by series; zeros left out."""
        out = Metrics()
        out.families = self.families
        for name, series in self.samples.items():
            old = before.samples.get(name, {})
            out.samples[name] = {
                labels: value - old.get(labels, 0.0)
                for labels, value in series.items()
                if value != old.get(labels, 0.0)}
        return out

    def counters(self):
        """{(name, labels): value} of everything that must never go down."""
        out = {}
        for name, entry in self.families.items():
            kind = entry["TYPE"]
            names = {"counter": [name], "histogram": [
                name + s for s in SUFFIXES]}.get(kind, [])
            for sample in names:
                for labels, value in self.samples.get(sample, {}).items():
                    out[sample, labels] = value
        return out


def went_down(before, after, ignore=()):
    """What decreased or vanished between two scrapes, as text lines."""
    new = after.counters()
    out = []
    for key, old in before.counters().items():
        if key[0] in ignore:
            continue
        got = new.get(key)
        if got is None or got < old:
            out.append(f"{key[0]}{dict(key[1])}: {old} -> {got}")
    return out
