#!/usr/bin/env python3
"""The real run: 5.5 M parameters, 200 given batches, the paper's recipe, against the reference code's held-out losses.

usage: LOWBIT_TEST_DATA=DIR bench/reference_run.py [--program build/lowbit-train] [--out runs/reference]
       [--formats bf16,w4a4,w2a2,w1a1] [--seeds 0,1,2] [--threads N] [--backward bf16]

Runs that are complete are kept, interrupted ones resumed. Prints a table: mean over the seeds, its standard error, the
reference's single run, the difference; and tokens per second (median over steps).
"""
import argparse, json, lzma, math, os, pathlib, statistics, subprocess, sys

REFERENCE = {"bf16": {100: 5.1736, 150: 4.9486, 200: 4.8501}, "w4a4": {100: 5.1619, 150: 4.9473, 200: 4.8459},
             "w2a2": {100: 5.2180, 150: 5.0135, 200: 4.9262}, "w1a1": {100: 5.2448, 150: 5.0388, 200: 4.9529}}
BOUND = {"bf16": .02, "w4a4": .02, "w2a2": .02, "w1a1": .03}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/lowbit-train")
    parser.add_argument("--out", default="runs/reference")
    parser.add_argument("--formats", default="bf16,w4a4,w2a2,w1a1")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--backward", default="bf16",
                        help="operands of the backward products; take an --out of its own for each")
    args = parser.parse_args()
    data = os.environ.get("LOWBIT_TEST_DATA")
    if not data:
        sys.exit("LOWBIT_TEST_DATA must name the folder that holds golden/reference_run")
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for name, packed in (("train.u16", "train_200x32x257.u16.xz"), ("valid.u16", "valid_1984x257.u16.xz")):
        if not (out / name).exists():
            (out / name).write_bytes(lzma.open(pathlib.Path(data) / "golden/reference_run" / packed).read())
    seeds, table = args.seeds.split(","), []
    for form in args.formats.split(","):
        for seed in seeds:
            run = out / f"{form}-{seed}"
            metrics = run / "metrics.jsonl"
            if metrics.exists() and '"finished"' in metrics.read_text():
                continue
            command = [args.program, "train", "--batches", out / "train.u16", "--eval-batches", out / "valid.u16",
                       "--eval-windows", "384",
                       "--eval-every", "50", "--steps", "200", "--batch", "32", "--seq", "256", "--vocab", "4096",
                       "--layers", "4",
                       "--width", "256", "--heads", "4", "--mlp", "768", "--lr", "2e-3", "--warmup", "20",
                       "--bytes-per-token", "3.45178",
                       "--format", form, "--seed", seed, "--out", run, "--threads", args.threads,
                       "--backward", args.backward]
            if (run / "run.json").exists():
                command.append("--resume")
            subprocess.run([str(c) for c in command], check=True)
        rows = [[json.loads(line) for line in (out / f"{form}-{s}" / "metrics.jsonl").read_text().splitlines()]
                for s in seeds]
        speed = statistics.median(r["tok_s"] for run in rows for r in run if r["kind"] == "step")
        for step, reference in REFERENCE[form].items():
            losses = [next(r["nats_per_token"] for r in run if r["kind"] == "eval" and r["step"] == step)
                      for run in rows]
            mean = statistics.mean(losses)
            error = statistics.stdev(losses) / math.sqrt(len(losses)) if len(losses) > 1 else float("nan")
            table.append((form, step, mean, error, reference, mean - reference, BOUND[form], speed, losses))
    print("| format | step | held-out nats a token, mean | standard error | reference | difference | tokens/s |")
    print("|---|---|---|---|---|---|---|")
    for form, step, mean, error, reference, difference, bound, speed, losses in table:
        print(f"| {form} | {step} | {mean:.4f} | {error:.4f} | {reference:.4f} | "
              f""
              f"{difference:+.4f} (bound {bound}) | {speed:,.0f} |")
    print("single runs:", {f"{t[0]}@{t[1]}": [round(x, 4) for x in t[8]] for t in table})


if __name__ == "__main__":
    main()
