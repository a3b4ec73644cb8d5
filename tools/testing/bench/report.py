#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes of what userptr-bench printed one JSON file, tables, goals and plots.

    report.py OUT META RUN=FILE...

META is a JSON object that is taken over; each FILE has the lines of one guest, RUN is its
name ("uml" or "qemu-2": with so many CPUs).  Writes OUT/bench.json with every sample,
prints a table for each run and the goals, each with its figure and "met" or "missed", and
writes OUT/*.gnuplot, which make SVG files.

A figure is the median of its samples.  A ratio is that of two medians of the same run,
whose samples were taken by turns.

Invariant: a goal whose figure is not there is printed as not measured, never as met.
"""

import json
import os
import sys

MIB = 1 << 20
KIB = 1 << 10


def median(samples):
    """Of an even number the mean of the two in the middle."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2


def ratio(above, below):
    """None if one is missing, or the clock was too coarse for the lower one."""
    if above is None or not below:
        return None
    return above / below


class Run:
    """What one guest measured."""

    def __init__(self, name, series):
        self.name = name
        self.series = series

    def samples(self, figure, layout, size, variant):
        for one in self.series:
            if (one["figure"], one["layout"], one["bytes"], one.get("variant")) == (
                figure, layout, size, variant):
                return one.get("samples")
        return None

    def median(self, figure, layout, size, variant):
        samples = self.samples(figure, layout, size, variant)
        return median(samples) if samples else None

    def sizes(self, figure, variant, layout=None):
        """Sorted; of each layout if none is given."""
        return sorted({one["bytes"] for one in self.series if one["figure"] == figure and
                       one.get("variant") == variant and layout in (None, one["layout"])})

    def against_pin(self, layout, size, pin="fast"):
        return ratio(self.median("create", layout, size, "watched"),
                     self.median("pin", layout, size, pin))

    def of_one_size(self, figure, above, below):
        """Two variants of a figure that has one size in a run."""
        sizes = self.sizes(figure, above)
        if not sizes:
            return None
        return ratio(self.median(figure, "natural", sizes[0], above),
                     self.median(figure, "natural", sizes[0], below))


def worst(values, pick=max):
    values = list(values)
    return None if not values or None in values else pick(values)


def natural_against_pin(run):
    return worst(run.against_pin("natural", size)
                 for size in run.sizes("create", "watched", "natural") if size >= 64 * MIB)


def first_against_next(run):
    sizes = run.sizes("create", "first")
    if not sizes:
        return None
    return ratio(run.median("create", "natural", sizes[0], "first"),
                 run.median("create", "natural", sizes[0], "watched"))


def passes_against_pin(run):
    parts = [run.median("split", "scattered", 64 * MIB, part) for part in ("append", "send")]
    return ratio(None if None in parts else sum(parts),
                 run.median("split", "scattered", 64 * MIB, "pin"))


def rate_against_blobs(run):
    return worst((run.of_one_size("rate", f"userptr-{n}", f"blob-{n}") for n in (1, 2, 8)), min)


def unpin_against_put(run):
    return ratio(run.median("close", "scattered", 64 * MIB, "unpinned"),
                 run.median("put", "scattered", 64 * MIB, "fast"))


def huge_against_pin(run):
    return run.against_pin("thp", 256 * MIB)


# What, the guest that it is measured in, how, the bound, and whether less is better.
GOALS = [
    ("create / pin limit, natural, 64 MiB and more", "uml", natural_against_pin, 1.15, True),
    ("create / pin limit, scattered, 64 MiB", "uml",
     lambda run: run.against_pin("scattered", 64 * MIB), 1.5, True),
    ("create / pin limit, THP, 256 MiB", "qemu", huge_against_pin, 2, True),
    ("first creation / repeated, natural, largest", "uml", first_against_next, 2, True),
    ("close to unpinned / unpin limit, scattered, 64 MiB", "uml", unpin_against_put, 2, True),
    ("small creation: how often it waits", "uml",
     lambda run: run.median("sleeps", "natural", 4 * KIB, "create"), 1, True),
    ("64 KiB beside the largest / idle", "uml",
     lambda run: run.of_one_size("beside", "busy", "idle"), 3, True),
    ("creations of 1 MiB / fenced guest blobs, worst of 1, 2, 8", "uml", rate_against_blobs, 1,
     False),
    ("munmap elsewhere, 10000 registrations / none", "uml",
     lambda run: run.of_one_size("munmap", "10000", "0"), 1.1, True),
    ("append and send / pin, scattered, 64 MiB", "uml", passes_against_pin,
     0.15, True),
    ("many single pages, watched / KEEP", "uml",
     lambda run: run.of_one_size("many", "watched", "keep"), 1.3, True),
]


def judge(value, bound, less):
    if value is None:
        return "not measured"
    return "met" if (value <= bound if less else value > bound) else "missed"


def goals(runs, instructions=None):
    """A list of (what, run, value, bound, verdict)."""
    results = []
    for what, guest, measure, bound, less in GOALS:
        of = [run for run in runs if run.name.split("-")[0] == guest]
        for run in of or [Run(guest, [])]:
            value = measure(run)
            results.append((what, run.name, value, f"{'<=' if less else '>'} {bound:g}",
                            judge(value, bound, less)))
    results.append(("device instructions a segment (make bench-check)", "host", instructions,
                    "<= 100", judge(instructions, 100, True)))
    return results


def number(value, scale=1.0):
    if value is None:
        return "-"
    value /= scale
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def size_name(size):
    return f"{size // MIB}M" if size >= MIB else f"{size // KIB}K"


COLUMNS = ("pin fast", "pin slow", "create", "/fast", "/slow", "keep", "put", "close", "unpinned",
           "/put", "blob", "use", "blob use", "use/blob")


def table(run):
    """Lines; times are in microseconds."""
    lines = [f"{run.name}: microseconds, medians",
             f"{'':16}" + "".join(f"{column:>10}" for column in COLUMNS)]
    for layout in ("natural", "scattered", "thp", "hugetlb"):
        for size in run.sizes("create", "watched", layout):
            def of(figure, variant, layout=layout, size=size):
                return run.median(figure, layout, size, variant)
            row = (number(of("pin", "fast"), 1000), number(of("pin", "slow"), 1000),
                   number(of("create", "watched"), 1000), number(run.against_pin(layout, size)),
                   number(run.against_pin(layout, size, "slow")),
                   number(of("create", "keep"), 1000), number(of("put", "fast"), 1000),
                   number(of("close", "watched"), 1000), number(of("close", "unpinned"), 1000),
                   number(ratio(of("close", "unpinned"), of("put", "fast"))),
                   number(of("blob", "unfenced"), 1000),
                   number(of("use", "userptr"), 1000), number(of("use", "blob"), 1000),
                   number(ratio(of("use", "userptr"), of("use", "blob"))))
            lines.append(f"{layout:10}{size_name(size):>6}" + "".join(f"{c:>10}" for c in row))
    lines += others(run)
    return lines


def others(run):
    """Lines for the figures that are not of a creation's size."""
    lines = []
    for figure in ("rate", "beside", "munmap", "dontneed", "fork", "many"):
        found = [(one["variant"], median(one["samples"]), one["unit"]) for one in run.series
                 if one["figure"] == figure and one.get("samples")]
        if found:
            lines.append(f"{figure:16}" + ", ".join(
                f"{variant}: {number(value, 1000 if unit == 'ns' else 1)}"
                f" {'us' if unit == 'ns' else unit}" for variant, value, unit in found))
    for layout in ("natural", "scattered", "thp", "hugetlb"):
        for size in run.sizes("split", "pin", layout):
            parts = ((part, run.median("split", layout, size, part))
                     for part in ("pin", "append", "send", "device"))
            lines.append(f"split {layout} {size_name(size)}".ljust(24) + ", ".join(
                f"{part}: {number(value, 1000)} us" for part, value in parts))
    lines += [f"not measured: {one['figure']} {one['layout']} {size_name(one['bytes'])}: "
              f"{one['skipped']}" for one in run.series if "skipped" in one]
    return lines


def plot(run, out):
    """A file for gnuplot: create against the pin limit, by size."""
    blocks, plots = [], []
    for layout in ("natural", "scattered", "thp", "hugetlb"):
        points = [(size, run.against_pin(layout, size))
                  for size in run.sizes("create", "watched", layout)]
        points = [(size, value) for size, value in points if value is not None and size >= MIB]
        if not points:
            continue
        blocks.append(f"${layout} << EOD\n" + "".join(f"{size / MIB:g} {value:.4f}\n"
                                                    for size, value in points) + "EOD\n")
        plots.append(f"${layout} with linespoints title '{layout}'")
    if not plots:
        return
    name = f"create-{run.name}"
    with open(os.path.join(out, f"{name}.gnuplot"), "w", encoding="utf-8") as file:
        file.write("set terminal svg size 800,500\n"
                   f"set output '{name}.svg'\n"
                   f"set title 'create / pin limit ({run.name})'\n"
                   "set logscale xy\nset grid\nset xlabel 'MiB'\nset ylabel 'ratio of medians'\n"
                   + "".join(blocks) + "plot " + ", ".join(plots) + ", 1 notitle dashtype 2\n")


def plot_rate(run, out):
    rows = [(n, run.median("rate", "natural", MIB, f"userptr-{n}"),
             run.median("rate", "natural", MIB, f"blob-{n}")) for n in (1, 2, 8)]
    if None in [value for row in rows for value in row]:
        return
    name = f"rate-{run.name}"
    with open(os.path.join(out, f"{name}.gnuplot"), "w", encoding="utf-8") as file:
        file.write("set terminal svg size 800,500\n"
                   f"set output '{name}.svg'\n"
                   f"set title 'creations of 1 MiB a second ({run.name})'\n"
                   "set style data histograms\nset style fill solid 0.6\nset yrange [0:*]\n"
                   "set xlabel 'processes'\n$rate << EOD\n"
                   + "".join(f"{n} {one:.0f} {other:.0f}\n" for n, one, other in rows)
                   + "EOD\nplot $rate using 2:xtic(1) title 'userptr', "
                   "$rate using 3 title 'guest blob, fenced'\n")


def read_run(name, path):
    with open(path, encoding="utf-8") as file:
        return Run(name, [json.loads(line) for line in file if line.startswith("{")])


def read_instructions(path):
    """Of a large creation, as make bench-check left it there; None if it did not."""
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("core/instructions/create/65536 "):
                return float(line.split()[1])
    return None


def main(arguments):
    out, meta = arguments[1], json.loads(arguments[2])
    runs = [read_run(*argument.split("=", 1)) for argument in arguments[3:]]
    with open(os.path.join(out, "bench.json"), "w", encoding="utf-8") as file:
        json.dump({**meta, "runs": {run.name: run.series for run in runs}}, file, indent=1)
        file.write("\n")
    for run in runs:
        print("\n".join(table(run)) + "\n")
        plot(run, out)
        plot_rate(run, out)
    instructions = read_instructions(os.path.join(out, os.pardir, "bench-check", "figures"))
    for what, name, value, bound, verdict in goals(runs, instructions):
        print(f"{verdict:12} {what:62} {name:7} {number(value):>8} {bound}")
    return 0 if runs and all(run.sizes("create", "watched") for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
