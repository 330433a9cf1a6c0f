#!/usr/bin/env python3
"""Two recipes beside each other: losses, gaps to full precision, and what the second takes off the first's, with
intervals over seeds.

usage: bench/recipe_gaps.py CSV [--first quest] [--second best] [--any-twin]

CSV has the columns recipe,format,seed,lr,gain-lr,loss. The gap is a loss minus that of the recipe's bf16 run of the
same seed that learns gains if the low-bit run does (--any-twin: whichever is better), at the rate whose bf16 runs have
the lowest mean. Intervals: 95 %, Student's t over seeds, of differences seed by seed. Only seeds that all
runs of a row have are counted.
"""
import argparse, collections, csv, math, statistics

T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365]  # Student's t at 97.5 % by degrees of freedom
mean = statistics.mean


def with_interval(values):
    if len(values) < 2:
        return f"{mean(values):.4f}"
    half = T[min(len(values) - 2, len(T) - 1)] * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean(values):.4f} +- {half:.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv")
    parser.add_argument("--first", default="quest")
    parser.add_argument("--second", default="best")
    parser.add_argument("--any-twin", action="store_true")
    args = parser.parse_args()
    runs = collections.defaultdict(dict)  # (recipe, format, gains, rate): losses by seed
    for row in csv.DictReader(open(args.csv)):
        runs[row["recipe"], row["format"], bool(row["gain-lr"]), row["lr"]][row["seed"]] = float(row["loss"])
    recipes = (args.first, args.second)

    def twin_of(recipe, gains):
        full = {key: seeds for key, seeds in runs.items()
                if key[0] == recipe and key[1] == "bf16" and (args.any_twin or key[2] == gains)}
        most = max(len(seeds) for seeds in full.values())
        return min((key for key, seeds in full.items() if len(seeds) == most), key=lambda key: mean(full[key].values()))

    print(f"| | {args.first}: loss | gap | {args.second}: loss | gap | "
          f"loss lower by | gap smaller by | of the gap | seeds |")
    print("|---|---|---|---|---|---|---|---|---|")
    used = set()
    for form in dict.fromkeys(key[1] for key in runs if key[1] != "bf16"):
        loss, twin = {}, {}
        for recipe in recipes:
            key = next(key for key in runs if key[:2] == (recipe, form))
            loss[recipe] = runs[key]
            twin[recipe] = runs[twin_of(recipe, key[2])]
            used.add(twin_of(recipe, key[2]))
        seeds = sorted(set.intersection(*(set(x) for x in (*loss.values(), *twin.values()))))
        of = {r: [loss[r][s] for s in seeds] for r in recipes}
        gap = {r: [loss[r][s] - twin[r][s] for s in seeds] for r in recipes}
        lower, smaller = ([a - b for a, b in zip(x[args.first], x[args.second])] for x in (of, gap))
        cells = [form] + [f"{mean(x[r]):.4f}" for r in recipes for x in (of, gap)]
        cells += [with_interval(lower), with_interval(smaller),
                  f"{100 * mean(smaller) / mean(gap[args.first]):.0f} %", ", ".join(seeds)]
        print("| " + " | ".join(cells) + " |")
    for recipe, form, gains, rate in sorted(used):
        print(f"twin of {recipe}: bf16{' with gains' if gains else ''} at {rate}: "
              + ", ".join(f"{v:.4f}" for _, v in sorted(runs[recipe, form, gains, rate].items())))


main()
