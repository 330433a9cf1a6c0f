#!/usr/bin/env python3
"""Training steps of lowbit beside PyTorch's (bfloat16 autocast, fused AdamW): same Llama, same batch, turn by turn.

Each round measures the machine's bf16 peak and lets each contender do some steps, the order turning; of a turn's
steps the first are dropped and the median counts. PyTorch runs eager and compiled; the better one, by its median, is
the peer. Told are medians over rounds and medians of the paired ratios with the lowest and the highest.
"""

import argparse, json, os, pathlib, random, shutil, statistics, struct, subprocess, sys

import common
from common import fail, paired, spread, with_spread

FIELDS = ("layers", "width", "heads", "mlp", "vocab", "batch", "seq")
SIZES = {
    "s": (6, 256, 4, 768, 4096, 16, 256),
    "m": (8, 512, 8, 1536, 8192, 8, 512),
    "l": (12, 768, 12, 2048, 16384, 4, 512),
}
WRITTEN_OUT = "x".join(f.upper() for f in FIELDS)
PYTORCH = pathlib.Path(__file__).resolve().parent / "pytorch_step.py"


class Size:
    def __init__(self, name):
        try:
            values = SIZES.get(name) or tuple(int(x) for x in name.split("x"))
            if len(values) != len(FIELDS) or min(values) < 1 or values[4] > 65536:
                raise ValueError
        except ValueError:
            fail(f"unknown --sizes {name}; choose {', '.join(SIZES)} or {WRITTEN_OUT}, VOCAB up to 65536")
        self.name, self.shape = name, dict(zip(FIELDS, values))
        self.flags = [x for key, value in self.shape.items() for x in ("--" + key, str(value))]
        s = self.shape
        weights = s["layers"] * (4 * s["width"] ** 2 + 3 * s["width"] * s["mlp"]) + s["vocab"] * s["width"]
        self.operations = (
            6 * weights
        )  # of a token: forward and both backward products of every matrix; attention is not counted


class PyTorch:
    """One pytorch_step.py, which lives through all rounds: compiling costs minutes."""

    def __init__(self, a, size, mode):
        self.name, command = f"PyTorch {mode}", [a.python, PYTORCH, *size.flags, "--threads", a.threads, "--mode", mode]
        environment = dict(os.environ, THP_MEM_ALLOC_ENABLE="1") if a.huge else None
        self.errors = open(pathlib.Path(a.scratch) / f"{mode}.log", "w+")
        self.process = subprocess.Popen(
            [str(c) for c in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment,
        )
        self.about = self._read()

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            lines = self.errors.read().strip().splitlines() or ["no message"]
            fail(f"{self.name} ended: {lines[-1]}")
        return json.loads(line)

    def steps(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return self._read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


class Lowbit:
    def __init__(self, a, size, form, batches):
        self.name, self.run = form, pathlib.Path(a.scratch) / "run"
        form, _, backward = form.partition(":")
        self.command = [
            a.program,
            "train",
            "--batches",
            batches,
            "--out",
            self.run,
            "--lr",
            "2e-3",
            "--format",
            form,
            "--checkpoint-every",
            "1000000",
            "--threads",
            a.threads,
            *size.flags,
            *(["--backward", backward] if backward else []),
            *a.train_args,
        ]

    def steps(self, count):
        common.run([*self.command, "--steps", count])
        records = [json.loads(line) for line in (self.run / "metrics.jsonl").read_text().splitlines()]
        shutil.rmtree(self.run)
        return [r["tok_s"] for r in records if r["kind"] == "step"]

    def close(self):
        pass


def bf16_peak(a):
    """Operations per second, measured now; the ceilings kept for this machine are left alone."""
    told = common.run_json(
        [a.roofline, "roofline", "--fresh", "--json", "--threads", a.threads],
        env=dict(os.environ, XDG_CACHE_HOME=a.scratch),
    )
    return told["ceilings"]["one_thread" if a.threads == 1 else "all_threads"]["bf16"]["median"]


def measure(a, size):
    """The three kinds of figures of one size: by contender, its rates, shares and ratios."""
    batches = pathlib.Path(a.scratch) / "batches.u16"
    count = a.steps * size.shape["batch"] * (size.shape["seq"] + 1)
    random.seed(0)
    batches.write_bytes(struct.pack(f"<{count}H", *(random.randrange(size.shape["vocab"]) for _ in range(count))))
    peers = [PyTorch(a, size, mode) for mode in a.modes]
    for peer in peers:
        peer.steps(a.steps)  # compiles, and warms up
    contenders = [*(Lowbit(a, size, form, batches) for form in a.formats), *peers]
    rates, peaks = {c.name: [] for c in contenders}, []
    for turn in range(a.rounds):
        peaks.append(bf16_peak(a))
        for i in range(len(contenders)):
            c = contenders[(i + turn) % len(contenders)]
            rates[c.name].append(statistics.median(c.steps(a.steps)[a.drop :]))
        common.progress(
            f"{size.name} round {turn + 1} of {a.rounds}: " + ", ".join(f"{n} {r[-1]:,.0f}" for n, r in rates.items())
        )
    for peer in peers:
        peer.close()
    best = max((p.name for p in peers), key=lambda name: statistics.median(rates[name]))
    rows = [
        {
            "size": size.name,
            **size.shape,
            "name": name,
            "rate": spread(r),
            "ratio": paired(r, rates[best]),
            "share_of_bf16_peak": spread([x * size.operations / peak for x, peak in zip(r, peaks)]),
            "rounds": r,
        }
        for name, r in rates.items()
    ]
    return {"size": size.name, "peer": best, "bf16_peak": spread(peaks), "about": peers[0].about, "rows": rows}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--sizes",
        type=common.names,
        default="s,m,l",
        help=f"a list of {', '.join(SIZES)} or {WRITTEN_OUT}; "
        f"s is {'x'.join(map(str, SIZES['s']))} (default s,m,l)",
    )
    p.add_argument(
        "--formats",
        type=common.names,
        default="w4a4,w1a1,w2a2,w4a8,bf16",
        help="ours; w4a4:int8 is w4a4 with --backward int8 (default w4a4,w1a1,w2a2,w4a8,bf16)",
    )
    p.add_argument(
        "--modes",
        type=common.names,
        default="eager,compile",
        help="PyTorch's: eager, compile, max-autotune " "(default eager,compile)",
    )
    p.add_argument("--threads", type=common.positive, default=2, help="default 2")
    p.add_argument("--rounds", type=common.positive, default=9, help="default 9")
    p.add_argument("--steps", type=common.positive, default=5, help="of a turn (default 5)")
    p.add_argument("--drop", type=int, default=2, help="first steps of a turn that do not count (default 2)")
    p.add_argument("--python", default=sys.executable, help="one that has torch (default this one)")
    p.add_argument("--program", default="build/lowbit-train", help="default build/lowbit-train")
    p.add_argument(
        "--roofline", default="build/lowbit", help="the program that measures the peak (default build/lowbit)"
    )
    p.add_argument(
        "--train-args", type=str.split, default="", metavar="TEXT", help="further flags for ours, in one word"
    )
    p.add_argument(
        "--small-pages", dest="huge", action="store_false", help="do not ask PyTorch's allocator for large pages"
    )
    p.add_argument("--folder", help="for batches and runs (default /dev/shm)")
    p.add_argument("--json", action="store_true", help="print results as JSON")
    return p.parse_args()


def main():
    a = arguments()
    sizes = [Size(name) for name in a.sizes]
    if a.drop < 0 or a.drop >= a.steps:
        fail(f"--drop {a.drop} must leave some of --steps {a.steps}")
    a.python = common.executable(a.python, "give a Python that has torch")
    a.program = common.executable(a.program, "build lowbit-train first, or give --program")
    a.roofline = common.executable(a.roofline, "build lowbit first, or give --roofline")
    load, machine = common.Load(), common.processor()
    with common.scratch(a.folder) as folder:
        a.scratch = folder
        results = [measure(a, size) for size in sizes]
    about = {
        "lowbit": common.run([a.program, "--version"]).strip(),
        "pytorch": results[0]["about"]["version"],
        "instructions": results[0]["about"]["instructions"],
        "onednn_bf16": results[0]["about"]["onednn_bf16"],
        "machine": machine,
        "threads": a.threads,
        "rounds": a.rounds,
        "steps": a.steps,
        "dropped": a.drop,
        "load": load.end(),
    }
    if a.json:
        print(json.dumps(about | {"sizes": results}, indent=1))
        return
    print(
        f"{about['lowbit']} beside PyTorch {about['pytorch']} (kernels for {about['instructions']}, oneDNN "
        f"{'with' if about['onednn_bf16'] else 'without'} bf16), {a.threads} threads, {a.rounds} rounds\n"
        f"machine: {machine['name']}, {machine['processors']} processors, {' '.join(machine['instructions'])}"
    )
    for r in results:
        print(
            f"\nsize {r['size']}, bf16 peak {r['bf16_peak']['median'] / 1e9:.0f} GOP/s, the peer is {r['peer']}\n"
            + common.table(
                ["what", "tok/s", "of the bf16 peak", "over the peer"],
                [
                    [
                        x["name"],
                        f"{x['rate']['median']:,.0f}",
                        f"{100 * x['share_of_bf16_peak']['median']:.0f} %",
                        with_spread(x["ratio"]),
                    ]
                    for x in r["rows"]
                ],
            )
        )
    if line := common.busy_line(about["load"]):
        print("\n" + line)


if __name__ == "__main__":
    main()
