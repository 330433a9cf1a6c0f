#!/usr/bin/env python3
"""Training steps of a Llama in PyTorch on the processor: bfloat16 autocast, fused AdamW, clipping.

First prints one line of JSON (version, instruction sets). Then, for each number N from standard input, does N steps and
prints one line of JSON: tokens per second of each. training_step.py talks to it so; by hand:
echo 5 | pytorch_step.py ...
"""

import argparse, json, sys, time

SIZES = ("layers", "width", "heads", "mlp", "vocab", "batch", "seq")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SIZES:
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument(
        "--mode",
        choices=("eager", "compile", "max-autotune"),
        default="eager",
        help="torch.compile of forward pass and loss, and so of their gradients (default eager)",
    )
    return parser.parse_args()


ARGUMENTS = arguments() if __name__ == "__main__" else None  # before torch, so that --help works without it
try:
    import torch
except ImportError as error:
    sys.exit(f"pytorch_step.py: cannot import torch ({error}); install it: pip install torch==2.15.0")
import torch.nn.functional as F
from torch import nn


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, 1e-5)


class Block(nn.Module):
    def __init__(self, width, heads, mlp):
        super().__init__()
        self.heads, self.norm, self.mlp_norm = heads, Norm(width), Norm(width)
        self.qkv, self.o = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate_up, self.down = nn.Linear(width, 2 * mlp, bias=False), nn.Linear(mlp, width, bias=False)

    def forward(self, x, cos, sin):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)

        def rotate(y):
            one, two = y.float().chunk(2, -1)
            return torch.cat((one * cos - two * sin, two * cos + one * sin), -1).to(v.dtype)

        y = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, t, d))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.embedding, self.head = nn.Embedding(a.vocab, a.width), nn.Linear(a.width, a.vocab, bias=False)
        self.blocks, self.norm = nn.ModuleList(Block(a.width, a.heads, a.mlp) for _ in range(a.layers)), Norm(a.width)
        d = a.width // a.heads
        angle = torch.arange(a.seq)[:, None] * 10000.0 ** (-torch.arange(0, d, 2) / d)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids):
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.head(self.norm(x))


def main(a):
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model = Model(a)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def loss_of(tokens):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(tokens[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())

    if a.mode != "eager":
        loss_of = torch.compile(loss_of, mode=None if a.mode == "compile" else a.mode)
    about = {
        "version": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "onednn_bf16": torch.ops.mkldnn._is_mkldnn_bf16_supported(),
        "mode": a.mode,
    }
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        rates = []
        for _ in range(int(line)):
            tokens = torch.randint(a.vocab, (a.batch, a.seq + 1))
            start = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            loss_of(tokens).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            rates.append(a.batch * a.seq / (time.perf_counter() - start))
        print(json.dumps(rates), flush=True)


if __name__ == "__main__":
    main(ARGUMENTS)
