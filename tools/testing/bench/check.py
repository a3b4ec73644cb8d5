#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares figures without a scale with recorded ones.

    check.py RECORDED COMPILER [--record] <FIGURES

FIGURES are lines "NAME VALUE"; a name that ends with "/N" belongs to N segments or, with
"nth", to the Nth registration.  RECORDED has lines "NAME COMPILER VALUE"; COMPILER is "-"
where it does not matter.  More than 5 % above the recorded one fails, and so does a
figure of many segments that is more than 10 % above the same of few.  What has no
recorded figure for this compiler is skipped.  Prints a line for each comparison and
"bench-check: N passed, N failed, N skipped"; with --record writes RECORDED instead.

Invariant: every recorded figure is compared or reported; one that was not measured fails.
"""

import sys

TOLERANCE = 1.05
COMPLEXITY = 1.10


def parse_figures(lines):
    """NAME -> value."""
    figures = {}
    for line in lines:
        name, value = line.split()
        if name in figures:
            raise ValueError(f"{name} is there twice")
        figures[name] = float(value)
    return figures


def parse_recorded(lines):
    """(NAME, COMPILER) -> value."""
    recorded = {}
    for line in lines:
        if line.strip() and not line.startswith("#"):
            name, compiler, value = line.split()
            recorded[name, compiler] = float(value)
    return recorded


def depends_on_compiler(name):
    return "/instructions/" in name


def compare(figures, recorded, compiler):
    """A list of (verdict, text): verdict is "ok", "not ok" or "skip"."""
    results = []
    for name, value in figures.items():
        wanted = recorded.get((name, compiler if depends_on_compiler(name) else "-"))
        if wanted is None:
            results.append(("skip", f"{name}: {value:g}, nothing is recorded for {compiler}"))
        elif value > wanted * TOLERANCE:
            results.append(("not ok", f"{name}: {value:g}, recorded {wanted:g}"))
        elif value * TOLERANCE < wanted:
            results.append(("ok", f"{name}: {value:g}, recorded {wanted:g}: record the better one"))
        else:
            results.append(("ok", f"{name}: {value:g}, recorded {wanted:g}"))
    for name, of in recorded:
        if of in ("-", compiler) and name not in figures:
            results.append(("not ok", f"{name}: was not measured"))
    return results


def complexity(figures):
    """The same, of figures of which there is a small and a large one."""
    groups = {}
    for name, value in figures.items():
        stem, size = name.rsplit("/", 1)
        groups.setdefault(stem, []).append((int(size), value))
    results = []
    for stem, sizes in groups.items():
        if len(sizes) < 2:
            continue
        (small, few), (large, many) = min(sizes), max(sizes)
        text = f"{stem}: {many:g} at {large}, {few:g} at {small}"
        results.append(("ok" if many <= few * COMPLEXITY else "not ok", text))
    return results


def record(path, figures, recorded, compiler):
    """Writes the file anew; what is of other compilers stays."""
    with open(path, encoding="utf-8") as old:
        head = [line for line in old if line.startswith("#")]
    for name, value in figures.items():
        recorded[name, compiler if depends_on_compiler(name) else "-"] = value
    with open(path, "w", encoding="utf-8") as new:
        new.writelines(head)
        for (name, of), value in sorted(recorded.items()):
            new.write(f"{name} {of} {value:g}\n")


def main(arguments):
    path, compiler = arguments[1:3]
    figures = parse_figures(sys.stdin)
    with open(path, encoding="utf-8") as file:
        recorded = parse_recorded(file)
    if "--record" in arguments:
        record(path, figures, recorded, compiler)
        return 0
    results = compare(figures, recorded, compiler) + complexity(figures)
    count = {"ok": 0, "not ok": 0, "skip": 0}
    for verdict, text in results:
        count[verdict] += 1
        print(f"ok - {text} # SKIP" if verdict == "skip" else f"{verdict} - {text}")
    print(f"bench-check: {count['ok']} passed, {count['not ok']} failed, {count['skip']} skipped")
    return 1 if count["not ok"] or not count["ok"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
