#!/usr/bin/env python3
"""llama.cpp beside lowbit in one run: a Llama of equal shape with random weights, a prompt and tokens one by one.

Each pair TYPE:FORMAT is measured in rounds, both programs once a round, the first place changing. Told are medians over
rounds and medians of the paired ratios (lowbit's tokens per second over llama.cpp's) with the lowest and the highest.
"""

import argparse, json, pathlib

import common
import gguf_model
import llama_peers
from common import fail, paired, spread, with_spread

PAIRS = "Q8_0:w8a8,Q4_0:w4a8,Q4_K:w4a8,TQ2_0:w2a8,TQ1_0:w1.58a8,Q1_0:w1a8"


def ours(a, form, threads):
    """`lowbit bench`'s results by kind of work."""
    told = common.run_json(
        [a.program, "bench"]
        + f"--shape {a.shape.name} --format {form} --head {a.head} --threads {threads} --prefill {a.prefill}".split()
        + f"--decode {a.decode} --rounds {a.repeats} --output json".split()
    )
    return {r["what"].split()[0]: r for r in told["results"]}


def compare(a, peer, pair, threads, peer_bytes):
    """The rows of one pair: `rounds` of both, turn by turn."""
    theirs, mine = [], []
    for turn in range(a.rounds):
        steps = [lambda: theirs.append(peer.measure(a, threads)), lambda: mine.append(ours(a, pair[1], threads))]
        for step in steps[::-1] if turn % 2 else steps:
            step()
        common.progress(
            f"{pair[0]} {pair[1]} {threads} threads, round {turn + 1} of {a.rounds}: "
            + ", ".join(
                f"{what} {mine[-1][what]['value']['median'] / theirs[-1][what]:.2f}" for what in ("prefill", "decode")
            )
        )
    if peer_bytes is None:  # a file whose types the gguf package may not know: all its weights taken as equally wide
        tokens_read = a.shape.block_weights() + a.shape.vocab * a.shape.width
        cache = 2 * a.shape.layers * a.shape.kv_width * (a.decode + 1)
        peer_bytes = peer.size * tokens_read / peer.weights + cache
    rows = []
    for what, length in (("prefill", a.prefill), ("decode", a.decode)):
        our_rate, their_rate = [r[what]["value"]["median"] for r in mine], [r[what] for r in theirs]
        ceilings, one = [r[what]["ceiling"]["per_second"]["median"] for r in mine], mine[0][what]
        row = {
            "peer_type": pair[0],
            "format": pair[1],
            "what": f"{what} {length}",
            "threads": threads,
            "kernel": one["kernel"],
            "isa": one["isa"],
            "ceiling": one["ceiling"]["name"],
            "peer_rate": spread(their_rate),
            "rate": spread(our_rate),
            "ratio": paired(our_rate, their_rate),
            "share": spread([r[what]["share"]["median"] for r in mine]),
            "rounds": {"peer": their_rate, "lowbit": our_rate},
            "busy_rounds": sum(r[what]["busy"] for r in mine),
        }
        if what == "decode":
            work = peer_bytes
            row |= {"peer_bytes_per_token": peer_bytes, "bytes_per_token": one["bytes_per_token"]}
            row["ratio_at_equal_bytes"] = {k: v * one["bytes_per_token"] / peer_bytes for k, v in row["ratio"].items()}
        else:  # two operations a weight; of no use where ours counts others
            work = 2 * a.shape.block_weights() if row["ceiling"] in ("int8", "bf16", "f32") else None
        row["peer_share"] = work and spread([rate * work / c for rate, c in zip(their_rate, ceilings)])
        rows.append(row)
    return rows


def as_table(rows):
    def cells(r):
        def percent(s):
            return f"{100 * s['median']:.0f} %" if s else ""

        def size(key):
            return f"{r[key] / 1e6:.1f}" if key in r else ""

        equal = f"{r['ratio_at_equal_bytes']['median']:.2f}" if "ratio_at_equal_bytes" in r else ""
        return [
            f"{r['peer_type']} : {r['format']}",
            r["what"],
            r["threads"],
            f"{r['peer_rate']['median']:.1f}",
            percent(r["peer_share"]),
            size("peer_bytes_per_token"),
            f"{r['rate']['median']:.1f}",
            percent(r["share"]),
            size("bytes_per_token"),
            r["ceiling"],
            r["kernel"],
            with_spread(r["ratio"]),
            equal,
        ]

    return common.table(
        [
            "pair",
            "work",
            "threads",
            "peer tok/s",
            "share",
            "MB/token",
            "ours tok/s",
            "share",
            "MB/token",
            "of",
            "kernel",
            "ratio",
            "at equal bytes",
        ],
        [cells(r) for r in rows],
    )


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shape", default="llama-1b", help="as `lowbit bench --shape` (default llama-1b)")
    p.add_argument("--pairs", type=common.names, help=f"TYPE:FORMAT, a list (default what fits of {PAIRS})")
    p.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="NAME:FORMAT:PATH",
        help="a GGUF of the same shape instead of --pairs, e.g. of a type that is quantized by the peer's own program; "
        "may be given again",
    )
    p.add_argument("--head", default="w8a8", help="of ours: bf16, w8a8, w4a8, f32 (default w8a8)")
    p.add_argument("--head-type", help="of llama.cpp's (default: the pair's type, as `llama-quantize --pure` does)")
    p.add_argument("--prefill", type=common.positive, default=512, help="tokens of the prompt (default 512)")
    p.add_argument("--decode", type=common.positive, default=64, help="tokens written one by one (default 64)")
    p.add_argument("--threads", type=common.numbers, default="2", help="a list (default 2)")
    p.add_argument("--rounds", type=common.positive, default=9, help="of each pair (default 9)")
    p.add_argument(
        "--repeats",
        type=common.positive,
        default=1,
        help="of each measurement in a round; its median counts (default 1)",
    )
    p.add_argument("--program", default="build/lowbit", help="default build/lowbit")
    p.add_argument(
        "--llama-bench",
        metavar="PATH",
        help="of a build of llama.cpp for this machine; without it the package xllamacpp, "
        "which is built for any x86-64 with AVX2 and so a handicapped peer",
    )
    p.add_argument(
        "--llama-args", type=str.split, default="", metavar="TEXT", help="further flags for llama-bench, in one word"
    )
    p.add_argument("--peer-name", help="what to call the peer, where its build does not know its version")
    p.add_argument("--folder", help="where models are written for a while (default /dev/shm)")
    p.add_argument("--write", metavar="PATH", help="write the model of the first of --pairs there, and stop")
    p.add_argument("--json", action="store_true", help="print results as JSON")
    return p.parse_args()


def pairs_of(a):
    """Name, format and file of each comparison; the file is none where it is to be written."""
    pairs = []
    for text in a.file:
        name, form, path = (text.split(":", 2) + ["", ""])[:3]
        if not pathlib.Path(path).is_file():
            fail(f"--file {text}: wanted is NAME:FORMAT:PATH of a file that is there")
        pairs.append((name, form, path))
    if pairs:
        return pairs
    for text in a.pairs or common.names(PAIRS):
        if text.count(":") != 1:
            fail(f"--pairs {text}: wanted is TYPE:FORMAT, as Q4_0:w4a8")
        name, form = text.split(":")
        why = gguf_model.misfit(name, a.shape, "--pairs")
        if a.head_type and not why:
            why = gguf_model.misfit(a.head_type, a.shape, "--head-type")
        if why and a.pairs:
            fail(why)
        if why:
            common.progress(f"left out: {why}")
        else:
            pairs.append((name, form, None))
    if not pairs:
        fail(f"no type fits the rows of {a.shape.name}; give another --shape or --head-type")
    return pairs


def main():
    a = arguments()
    a.shape = common.Shape(a.shape)
    pairs = pairs_of(a)
    if a.write:
        gguf_model.write(a.write, a.shape, pairs[0][0], a.head_type or pairs[0][0])
        return
    a.program = common.executable(a.program, "build lowbit first, or give --program")
    peer = llama_peers.LlamaBench(a.llama_bench, a.llama_args) if a.llama_bench else llama_peers.Wheel()
    load, machine, rows = common.Load(), common.processor(), []
    with common.scratch(a.folder) as folder:
        for name, form, path in pairs:
            model, size = path, None
            if not path:
                model = pathlib.Path(folder) / "model.gguf"
                gguf_model.write(model, a.shape, name, a.head_type or name)
                size = gguf_model.bytes_per_token(a.shape, name, a.head_type or name, a.decode)
            peer.open(model)
            for threads in a.threads:
                rows += compare(a, peer, (name, form), threads, size)
            peer.close()
    about = {
        "peer": a.peer_name or "llama.cpp",
        **peer.about,
        "lowbit": common.run([a.program, "--version"]).strip(),
        "machine": machine,
        "shape": a.shape.name,
        "head": a.head,
        "head_type": a.head_type or "as the pair",
        "rounds": a.rounds,
        "load": load.end(),
    }
    if a.json:
        print(json.dumps(about | {"results": rows}, indent=1))
        return
    print(
        f"{about['lowbit']} beside {about['peer']} {about['version']}, {a.shape.name}, {a.rounds} rounds\n"
        f"machine: {machine['name']}, {machine['processors']} processors, {' '.join(machine['instructions'])}\n"
        f"peer built with: {about['instructions']}\n"
        f"heads: ours {a.head}, the peer's {about['head_type']}\n\n{as_table(rows)}"
    )
    if line := common.busy_line(about["load"]):
        print("\n" + line)


if __name__ == "__main__":
    main()
