#!/usr/bin/env python3
"""Two recipes beside each other: losses, gaps to full precision, and what the second takes off the first's gap, with intervals over seeds.

usage: bench/recipe_gaps.py CSV [--first quest] [--second best]

CSV has the columns recipe,format,lr,seed,loss. The gap is a loss minus that of the recipe's bf16 run of the same seed, at the rate whose
bf16 runs have the least mean over all seeds. Intervals: 95 %, Student's t over seeds, of differences seed by seed.
"""
import argparse, collections, csv, math, statistics

T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365]  # Student's t at 97.5 % by degrees of freedom


def interval(values):
    if len(values) < 2:
        return float("nan")
    return T[min(len(values) - 2, len(T) - 1)] * statistics.stdev(values) / math.sqrt(len(values))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv")
    parser.add_argument("--first", default="quest")
    parser.add_argument("--second", default="best")
    args = parser.parse_args()
    runs = collections.defaultdict(dict)  # (recipe, format, rate): losses by seed
    for row in csv.DictReader(open(args.csv)):
        runs[row["recipe"], row["format"], row["lr"]][row["seed"]] = float(row["loss"])
    twin, loss = {}, {}
    for recipe in (args.first, args.second):
        rates = {rate: seeds for (r, f, rate), seeds in runs.items() if r == recipe and f == "bf16"}
        rate = min(rates, key=lambda r: statistics.mean(rates[r].values()))
        twin[recipe] = rates[rate]
        print(f"{recipe}: bf16 at {rate}: " + ", ".join(f"{v:.4f}" for v in twin[recipe].values())
              + "  (other rates: " + ", ".join(f"{r} {statistics.mean(s.values()):.4f}" for r, s in rates.items() if r != rate) + ")")
        for (r, f, _), seeds in runs.items():
            if r == recipe and f != "bf16":
                loss[recipe, f] = seeds
    print(f"| | {args.first}: loss | gap | {args.second}: loss | gap | loss lower by | gap smaller by | of the gap |\n|---|---|---|---|---|---|---|---|")
    for form in dict.fromkeys(f for _, f in loss):
        both = [s for s in loss[args.first, form] if all(s in x for x in (loss[args.second, form], *twin.values()))]
        of = {r: [loss[r, form][s] for s in both] for r in twin}
        gap = {r: [loss[r, form][s] - twin[r][s] for s in both] for r in twin}
        better = [a - b for a, b in zip(of[args.first], of[args.second])]
        smaller = [a - b for a, b in zip(gap[args.first], gap[args.second])]
        cells = [form]
        for r in twin:
            cells += [f"{statistics.mean(of[r]):.4f}", f"{statistics.mean(gap[r]):.4f}"]
        for d in (better, smaller):
            cells.append(f"{statistics.mean(d):.4f} +- {interval(d):.4f}")
        cells.append(f"{100 * statistics.mean(smaller) / statistics.mean(gap[args.first]):.0f} %")
        print("| " + " | ".join(cells) + f" | {len(both)} seeds")


main()
