#!/usr/bin/env python3
"""What other scales would do to the error of coded weights, on the master weights of a trained checkpoint.

usage: bench/weight_scales.py CHECKPOINT... [--bits 1,1.58,2,3,4] [--groups 32,64,128]     (needs numpy)

Each row of a block's matrix is rotated (Hadamard in groups of up to 128) and coded with h from its RMS, as the trainer
does; with the best of 41 candidates for h between 0.7 and 1.3 times that; and with an RMS scale for each group of
columns instead of the
row's. Prints |w - Q(w)|^2 / |w|^2 over all matrices, and the bits that stored scales (bfloat16) add to a weight.
"""
import argparse, json, pathlib
import numpy as np

ALPHA = {"1": (2, 0.7978845587140913), "1.58": (3, 1.2240089519030855), "2": (4, 1.4935346200015913),
         "3": (8, 2.051068354131873),
         "4": (16, 2.513930578568423)}  # levels, clip in units of the RMS: lowbit/formats/grid.h


def tensors(path):
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    for name, t in json.loads(raw[8:8 + size]).items():
        if name != "__metadata__" and t["dtype"] == "F32":
            begin, end = t["data_offsets"]
            yield name, np.frombuffer(raw[8 + size + begin:8 + size + end], np.float32).reshape(
                t["shape"]).astype(np.float64)


def rotated(w):
    group = 128
    while w.shape[1] % group:
        group //= 2
    h = np.ones((1, 1))
    while len(h) < group:
        h = np.block([[h, h], [h, -h]])
    return (w.reshape(-1, group) @ h / np.sqrt(group)).reshape(w.shape)


def coded(w, s, levels):
    """w on a grid of `levels` levels that ends at +-s; s: one for each row."""
    if levels == 3:
        return np.clip(np.round(w / s), -1, 1) * s
    step = 2 * s / (levels - 1)
    return (np.clip(np.floor(w / step), -levels // 2, levels // 2 - 1) + 0.5) * step


def rms(w):
    return np.sqrt((w * w).mean(1, keepdims=True)) + 1e-8


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=pathlib.Path)
    parser.add_argument("--bits", default="1,1.58,2,3,4")
    parser.add_argument("--groups", default="32,64,128")
    args = parser.parse_args()
    groups = [int(g) for g in args.groups.split(",")]
    for checkpoint in args.checkpoints:
        matrices = [rotated(w) for name, w in tensors(checkpoint / "model.safetensors") if name.endswith("proj.weight")]
        total = sum((w * w).sum() for w in matrices)
        weights = sum(w.size for w in matrices)
        print(f"{checkpoint}: {len(matrices)} matrices, a scale a row adds "
              f" "
              f" {16 * sum(len(w) for w in matrices) / weights:.3f} bits")
        print("| bits | by RMS | best of 41 a row |" + "".join(f" RMS of {g} columns |" for g in groups))
        print("|---|---|---|" + "---|" * len(groups))
        for bits in args.bits.split(","):
            levels, alpha = ALPHA[bits]
            by_rms = best = 0
            of_group = dict.fromkeys(groups, 0.0)
            for w in matrices:
                by_rms += ((w - coded(w, alpha * rms(w), levels)) ** 2).sum()
                best += np.minimum.reduce([((w - coded(w, c * alpha * rms(w), levels)) ** 2).sum(1)
                                           for c in np.linspace(.7, 1.3, 41)]).sum()
                for g in groups:
                    part = w.reshape(-1, g)
                    of_group[g] += ((part - coded(part, alpha * rms(part), levels)) ** 2).sum()
            row = [by_rms, best] + list(of_group.values())
            print(f"| {bits} | " + " | ".join(f"{x / total:.4f}" for x in row) + " |")
        print("bits that scales add: " + ", ".join(f"{16 / g:g} at {g} columns" for g in groups))


main()
