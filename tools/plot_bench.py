"""Draws the results of `python -m immutable bench`: one picture beside each JSON file.

usage: plot_bench.py FOLDER
"""

import argparse
import json
import pathlib

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from layout import Failure, run_tool, shown

MET, MISSED, NO_TARGET = "#3a7d44", "#b3422f", "#5a6f8c"


def draw_ratios(results, axes):
    """One bar for each ratio, its quartiles as a whisker, and a mark where its target is."""
    for row, result in enumerate(reversed(results)):
        wanted = result["at_least"] or result["at_most"]
        colour = {True: MET, False: MISSED, None: NO_TARGET}[result["held"]]
        ratios = sorted(ratio_of_round(result))
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        axes.barh(row, result["median"], color=colour)
        axes.plot([low, high], [row, row], color="black", linewidth=1)
        axes.text(result["median"], row, f" {result['median']:.3g}", va="center", fontsize=8)
        if wanted:
            axes.plot([wanted, wanted], [row - 0.45, row + 0.45], color="black", linestyle="dotted")
    axes.set_yticks(range(len(results)), [result["name"] for result in reversed(results)], fontsize=8)
    if max(result["median"] for result in results) > 30 * min(result["median"] for result in results):
        axes.set_xscale("log")
    axes.set_xlabel("times faster, or for targets '<=' the cost in terms of the other: median over the rounds")


def ratio_of_round(result):
    pairs = zip(result["our_seconds"], result["their_seconds"], strict=True)
    return [ours / theirs if result["at_most"] is not None else theirs / ours for ours, theirs in pairs]


def draw_series(result, axes):
    for name, values in result["values"].items():
        axes.plot(result["sizes"], values, marker="o", label=name)
    axes.set_xscale("log", base=2 if max(result["sizes"]) < 100 else 10)
    axes.set_xlabel(result["size_label"])
    axes.set_ylabel(result["unit"])
    axes.set_ylim(bottom=0)
    axes.set_title(result["name"], fontsize=9)
    axes.legend(fontsize=8)


def draw(path):
    report = json.loads(path.read_text())
    results = report["results"]
    ratios = [result for result in results if "ours" in result]
    series = [result for result in results if "sizes" in result]
    height = 0.35 * len(ratios) + 1.5 if ratios else 4.0 * len(series)
    figure, axes = pyplot.subplots(max(1, len(series)), figsize=(9, height), squeeze=False)
    if ratios:
        draw_ratios(ratios, axes[0][0])
    for result, place in zip(series, axes[:, 0], strict=False):
        draw_series(result, place)
    machine = report["machine"]
    figure.suptitle(
        f"{report['benchmark']}: {report['build']['version'].split(' ')[0]}, {machine['processor']}, "
        f"load {machine['load'][0]:.1f} of {machine['processors']}",
        fontsize=9,
    )
    figure.tight_layout()
    picture = path.with_suffix(".svg")
    figure.savefig(picture)
    pyplot.close(figure)
    return picture


def main():
    parser = argparse.ArgumentParser(description="Draw the results of the benchmarks.")
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    reports = sorted(folder.glob("*.json"))
    if not reports:
        raise Failure(f"There are no results in {shown(folder)}.")
    for report in reports:
        print(f"written: {shown(draw(report).resolve())}")
    return 0


if __name__ == "__main__":
    run_tool(main)
