#!/usr/bin/env python3
"""A training step of lowbit beside one of PyTorch (eager, bfloat16 autocast), same model, same batch, turn by turn.

usage: bench/peers/training_step.py [--python PYTHON_WITH_TORCH] [--program build/lowbit-train] [--format w4a4] [--rounds 5]
       [--steps 6] [--threads 2] [--layers 4 --width 256 --heads 4 --mlp 768 --vocab 4096 --batch 32 --seq 256] [--compile]

Each round runs both for some steps, drops the first two of each, and takes the medians; printed are the medians over rounds
and the median of the paired ratios.
"""
import argparse, json, pathlib, random, statistics, struct, subprocess, sys, tempfile

SHAPE = dict(layers=4, width=256, heads=4, mlp=768, vocab=4096, batch=32, seq=256)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--program", default="build/lowbit-train")
    parser.add_argument("--format", default="w4a4")
    parser.add_argument("--compile", action="store_true")
    for name, value in dict(SHAPE, rounds=5, steps=6, threads=2).items():
        parser.add_argument("--" + name, type=int, default=value)
    a = parser.parse_args()
    shape = {name: str(getattr(a, name)) for name in SHAPE}
    flags = [x for name, value in shape.items() for x in ("--" + name, value)]
    ours, theirs, ratios = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        batches = pathlib.Path(folder) / "batches.u16"
        count = a.steps * a.batch * (a.seq + 1)
        random.seed(0)
        batches.write_bytes(struct.pack(f"<{count}H", *(random.randrange(a.vocab) for _ in range(count))))
        for turn in range(a.rounds):
            run = pathlib.Path(folder) / f"run-{turn}"
            subprocess.run([a.program, "train", "--batches", batches, "--out", run, "--steps", str(a.steps), "--lr", "2e-3", "--format", a.format,
                            "--checkpoint-every", "1000", "--threads", str(a.threads), *flags], check=True, capture_output=True)
            steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            ours.append(statistics.median([s["tok_s"] for s in steps if s["kind"] == "step"][2:]))
            peer = subprocess.run([a.python, str(pathlib.Path(__file__).parent / "pytorch_step.py"), "--steps", str(a.steps), "--threads",
                                   str(a.threads), *flags, *(["--compile"] if a.compile else [])], check=True, capture_output=True, text=True)
            theirs.append(statistics.median([float(line) for line in peer.stdout.split()][2:]))
            ratios.append(ours[-1] / theirs[-1])
            print(f"round {turn + 1}: lowbit {a.format} {ours[-1]:,.0f} tok/s, PyTorch {theirs[-1]:,.0f} tok/s, ratio {ratios[-1]:.2f}", flush=True)
    print(f"medians: lowbit {a.format} {statistics.median(ours):,.0f} tok/s, PyTorch {'compiled' if a.compile else 'eager'} "
          f"{statistics.median(theirs):,.0f} tok/s; median of paired ratios {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
