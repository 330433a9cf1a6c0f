#!/usr/bin/env python3
"""Training steps of a Llama in PyTorch, eager, bfloat16 autocast: tokens per second of each step, one a line.

usage: pytorch_step.py --layers N --width N --heads N --mlp N --vocab N --batch N --seq N --steps N --threads N [--compile]

Same shape, batch and optimizer (fused AdamW, clipping) as `lowbit train` in training_step.py, which calls this.
"""
import argparse, time
import torch
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


def main():
    parser = argparse.ArgumentParser()
    for name in ("layers", "width", "heads", "mlp", "vocab", "batch", "seq", "steps", "threads"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--compile", action="store_true")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model = Model(a)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    step_model = torch.compile(model) if a.compile else model
    for _ in range(a.steps):
        tokens = torch.randint(a.vocab, (a.batch, a.seq + 1))
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = step_model(tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        print(f"{a.batch * a.seq / (time.perf_counter() - start):.1f}", flush=True)


if __name__ == "__main__":
    main()
