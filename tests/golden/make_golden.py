#!/usr/bin/env python3
"""Makes the golden runs in tests/golden/closed_form: ten training steps of a tiny Llama, computed in float64 from the
formulas alone. Nothing here is taken from lowbit's sources or from another engine, so that a test run anywhere is held
against something outside of the engine.

Usage: make_golden.py            writes init.safetensors and golden.json
       make_golden.py --check    computes them again and compares: weights and token ids byte by byte, numbers to 1e-11

Sources: the coding, its scale and the trust mask: QuEST (arXiv 2502.05003), sections 3 and 4. The model: Llama (arXiv
2302.13971), with RoPE in the half-split pairing of Hugging Face. AdamW: arXiv 1711.05101. The learning rate: one cycle
(arXiv 1708.07120) with cosines. Every rule is also written down in docs/reference/arithmetic.md.

Python's standard library alone, about ten seconds. Matrices are lists of rows. Sums are exact (math.fsum), so that no
version of Python changes the results.
"""
import json
import math
import os
import struct
import sys
from operator import mul

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "closed_form")

LAYERS, WIDTH, HEADS, MLP, VOCAB = 2, 32, 2, 64, 64
HEAD = WIDTH // HEADS
EPS, THETA = 1e-5, 10000.0
STEPS, WARMUP, PEAK = 10, 3, 2e-3
SEQUENCES, LENGTH = 2, 16
BETA1, BETA2, ADAM_EPS, DECAY, CLIP = 0.9, 0.95, 1e-8, 0.1, 1.0
OUTER_TRUST = 1.30  # at one bit, with a rotation

# Half the extent of the grid in units of the row's RMS, by bits: what the published runs used. check_alphas() holds
# each against the optimum for a normal variable.
ALPHA = {1: 0.7978845587140913, 2: 1.4935346200015913, 3: 2.051068354131873, 4: 2.513930578568423}
# name: bits of weights, bits of activations; None is not coded
RUNS = {"none": (None, None), "w4a4": (4, 4), "w3a3": (3, 3), "w2a2": (2, 2), "w1a1": (1, 1)}


# ---- the grid ----
def normal_error(alpha, bits):
    """E[(X - Q(X))^2] of X ~ N(0, 1) on n levels (2k + 1) alpha / (n - 1), in closed form."""
    n = 2**bits
    step = 2 * alpha / (n - 1)
    cdf = lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2)))
    pdf = lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    error = 0.0
    for k in range(-n // 2, n // 2):
        low = -math.inf if k == -n // 2 else k * step
        high = math.inf if k == n // 2 - 1 else (k + 1) * step
        level = (2 * k + 1) * step / 2
        a, b = (0.0 if math.isinf(x) else pdf(x) for x in (low, high))
        la, hb = (0.0 if math.isinf(x) else x * pdf(x) for x in (low, high))
        mass = cdf(high) - cdf(low)
        error += (mass + la - hb) - 2 * level * (a - b) + level * level * mass
    return error


def check_alphas():
    for bits, alpha in ALPHA.items():
        best = min(normal_error(alpha * (1 + i / 1000), bits) for i in range(-50, 51))
        assert normal_error(alpha, bits) <= best * (1 + 1e-5), (bits, normal_error(alpha, bits), best)


def code_row(x, bits):
    """A rotated row as it enters a product, and what of it is trusted."""
    n = 2**bits
    r = math.sqrt(math.fsum(v * v for v in x) / len(x))
    step = 2 * (ALPHA[bits] * r + 1e-8) / (n - 1)
    values = [(2 * min(max(math.floor(v / step), -n // 2), n // 2 - 1) + 1) * step / 2 for v in x]
    reach = (OUTER_TRUST if bits == 1 else n / (n - 1)) * ALPHA[bits] * r
    return values, [abs(v) <= reach for v in x]


# ---- matrices ----
def dot(a, b):
    return math.fsum(map(mul, a, b))


def times_transposed(a, b):
    """a [m, k], b [n, k] to [m, n]."""
    return [[dot(row, other) for other in b] for row in a]


def transposed(a):
    return list(zip(*a))


def times(a, b):
    return times_transposed(a, transposed(b))


def add(a, b):
    return [[x + y for x, y in zip(row, other)] for row, other in zip(a, b)]


def hadamard(k):
    """Sylvester's matrix of the row's group, orthonormal and symmetric: 32 and 64 divide the widths here."""
    size = min(128, k & -k)
    root = math.sqrt(size)
    return [[(-1) ** bin(i & j).count("1") / root for j in range(size)] for i in range(size)]


ROTATION = {k: hadamard(k) for k in (WIDTH, MLP)}


def rotated(x):
    return times_transposed(x, ROTATION[len(x[0])])  # H is symmetric and fills the row


# ---- a linear layer: y = xq wq^T on rotated, coded rows ----
def coded(x, bits):
    if bits is None:
        return x, None
    rows = [code_row(row, bits) for row in rotated(x)]
    return [row for row, _ in rows], [mask for _, mask in rows]


def through_coding(gradient, mask):
    """The trust estimator: nothing where the rounding was too large, then back through the rotation."""
    if mask is None:
        return gradient
    return rotated([[g if m else 0.0 for g, m in zip(row, trusted)] for row, trusted in zip(gradient, mask)])


def linear_backward(x, w, dy):
    """x, w: (values, mask). Gradients of the input and of the weight."""
    dx = through_coding(times(dy, w[0]), x[1])
    dw = through_coding(times(transposed(dy), x[0]), w[1])
    return dx, dw


# ---- the other parts ----
def norm(x, weight):
    inverse = [1 / math.sqrt(math.fsum(v * v for v in row) / len(row) + EPS) for row in x]
    return [[v * i * w for v, w in zip(row, weight)] for row, i in zip(x, inverse)], inverse


def norm_backward(x, weight, inverse, dy):
    dx, terms = [], []
    for row, inv, d in zip(x, inverse, dy):
        terms.append([g * v * inv for g, v in zip(d, row)])
        g = [a * w for a, w in zip(d, weight)]
        mean = dot(g, row) / len(row)
        dx.append([inv * a - v * inv**3 * mean for a, v in zip(g, row)])
    return dx, [math.fsum(column) for column in zip(*terms)]


def rope(x, sign):
    """Pairs (i, i + d/2) of each head turned by position * theta^(-2i/d), or back."""
    out = []
    for t, row in enumerate(x):
        row, turned = list(row), [0.0] * WIDTH
        for i in range(HEAD // 2):
            angle = sign * (t % LENGTH) * THETA ** (-2 * i / HEAD)
            c, s = math.cos(angle), math.sin(angle)
            for at in range(i, WIDTH, HEAD):
                a, b = row[at], row[at + HEAD // 2]
                turned[at], turned[at + HEAD // 2] = a * c - b * s, b * c + a * s
        out.append(turned)
    return out


def heads(x):
    """[tokens, width] to a list over sequences and heads of [length, head]."""
    return [[row[h * HEAD:(h + 1) * HEAD] for row in x[s * LENGTH:(s + 1) * LENGTH]]
            for s in range(SEQUENCES) for h in range(HEADS)]


def joined(parts):
    return [[v for h in range(HEADS) for v in parts[s * HEADS + h][t]] for s in range(SEQUENCES) for t in range(LENGTH)]


def softmax(row):
    top = max(row)
    e = [math.exp(v - top) for v in row]
    total = math.fsum(e)
    return [v / total for v in e]


def attention(q, k, v):
    """One head, causal. Returns the output and the probabilities."""
    p = []
    for t, query in enumerate(q):
        scores = [dot(query, k[j]) / math.sqrt(HEAD) for j in range(t + 1)]
        p.append(softmax(scores) + [0.0] * (LENGTH - t - 1))
    return times(p, v), p


def attention_backward(q, k, v, p, do):
    dp = times_transposed(do, v)
    ds = []
    for row, d in zip(p, dp):
        mean = dot(row, d)
        ds.append([a * (b - mean) / math.sqrt(HEAD) for a, b in zip(row, d)])
    return times(ds, k), times(transposed(ds), q), times(transposed(p), do)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# ---- the model ----
BLOCK = {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (WIDTH, WIDTH), "self_attn.v_proj": (WIDTH, WIDTH),
         "self_attn.o_proj": (WIDTH, WIDTH), "mlp.gate_proj": (MLP, WIDTH), "mlp.up_proj": (MLP, WIDTH),
         "mlp.down_proj": (WIDTH, MLP)}


def is_block(name):
    return name.endswith("_proj.weight")


def forward_backward(weights, bits, ids):
    """Loss in nats per token, logits [tokens, vocab] and the gradients by name. ids: [sequences][length + 1]"""
    wbits, abits = bits
    inputs = [window[t] for window in ids for t in range(LENGTH)]
    targets = [window[t + 1] for window in ids for t in range(LENGTH)]
    matrix = {name: coded(w, wbits) for name, w in weights.items() if is_block(name)}
    x = [weights["model.embed_tokens.weight"][i] for i in inputs]
    kept = []
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        linear = lambda a, name: times_transposed(a[0], matrix[at + name + ".weight"][0])
        s = {"x0": x}
        normed, s["inv0"] = norm(x, weights[at + "input_layernorm.weight"][0])
        s["a"] = coded(normed, abits)
        s["q"] = heads(rope(linear(s["a"], "self_attn.q_proj"), 1))
        s["k"] = heads(rope(linear(s["a"], "self_attn.k_proj"), 1))
        s["v"] = heads(linear(s["a"], "self_attn.v_proj"))
        outs = [attention(q, k, v) for q, k, v in zip(s["q"], s["k"], s["v"])]
        s["p"] = [p for _, p in outs]
        s["o"] = coded(joined([o for o, _ in outs]), abits)
        s["x1"] = x = add(x, linear(s["o"], "self_attn.o_proj"))
        normed, s["inv1"] = norm(x, weights[at + "post_attention_layernorm.weight"][0])
        s["m"] = coded(normed, abits)
        s["gate"], s["up"] = linear(s["m"], "mlp.gate_proj"), linear(s["m"], "mlp.up_proj")
        s["d"] = coded([[g * sigmoid(g) * u for g, u in zip(a, b)] for a, b in zip(s["gate"], s["up"])], abits)
        x = add(x, linear(s["d"], "mlp.down_proj"))
        kept.append(s)
    final, inverse = norm(x, weights["model.norm.weight"][0])
    logits = times_transposed(final, weights["lm_head.weight"])
    probabilities = [softmax(row) for row in logits]
    loss = -math.fsum(math.log(p[t]) for p, t in zip(probabilities, targets)) / len(targets)

    gradient = {}
    dlogits = [[(v - (i == t)) / len(targets) for i, v in enumerate(p)] for p, t in zip(probabilities, targets)]
    gradient["lm_head.weight"] = times(transposed(dlogits), final)
    dx, dnorm = norm_backward(x, weights["model.norm.weight"][0], inverse, times(dlogits, weights["lm_head.weight"]))
    gradient["model.norm.weight"] = [dnorm]
    for layer in reversed(range(LAYERS)):
        at, s = f"model.layers.{layer}.", kept[layer]

        def back(a, name, dy):
            d, gradient[at + name + ".weight"] = linear_backward(a, matrix[at + name + ".weight"], dy)
            return d

        d = back(s["d"], "mlp.down_proj", dx)
        dgate, dup = [], []
        for g_row, u_row, d_row in zip(s["gate"], s["up"], d):
            dgate.append([v * u * sigmoid(g) * (1 + g * (1 - sigmoid(g))) for g, u, v in zip(g_row, u_row, d_row)])
            dup.append([v * g * sigmoid(g) for g, v in zip(g_row, d_row)])
        d = add(back(s["m"], "mlp.gate_proj", dgate), back(s["m"], "mlp.up_proj", dup))
        d, dnorm = norm_backward(s["x1"], weights[at + "post_attention_layernorm.weight"][0], s["inv1"], d)
        gradient[at + "post_attention_layernorm.weight"] = [dnorm]
        dx = add(dx, d)
        parts = [attention_backward(*each) for each in
                 zip(s["q"], s["k"], s["v"], s["p"], heads(back(s["o"], "self_attn.o_proj", dx)))]
        dq, dk, dv = (joined([part[i] for part in parts]) for i in range(3))
        d = back(s["a"], "self_attn.q_proj", rope(dq, -1))
        d = add(d, back(s["a"], "self_attn.k_proj", rope(dk, -1)))
        d = add(d, back(s["a"], "self_attn.v_proj", dv))
        d, dnorm = norm_backward(s["x0"], weights[at + "input_layernorm.weight"][0], s["inv0"], d)
        gradient[at + "input_layernorm.weight"] = [dnorm]
        dx = add(dx, d)
    table = [[0.0] * WIDTH for _ in range(VOCAB)]
    for i, row in zip(inputs, dx):
        table[i] = [a + b for a, b in zip(table[i], row)]
    gradient["model.embed_tokens.weight"] = table
    return loss, logits, gradient


# ---- training ----
def rate(step):
    """One cycle of cosines: from PEAK / 100 to PEAK at the end of the warm-up, then to PEAK / 10 at the last step."""
    cosine = lambda begin, end, part: end + (begin - end) / 2 * (1 + math.cos(math.pi * part))
    if step < WARMUP:
        return cosine(PEAK / 100, PEAK, step / (WARMUP - 1))
    return cosine(PEAK, PEAK / 10, (step - WARMUP + 1) / (STEPS - WARMUP))


def size(gradient):
    return math.sqrt(math.fsum(g * g for rows in gradient.values() for row in rows for g in row))


class AdamW:
    """Decoupled decay on the blocks' linear weights, after one clip of the global norm."""

    def __init__(self, weights):
        self.first = {name: [[0.0] * len(row) for row in w] for name, w in weights.items()}
        self.second = {name: [[0.0] * len(row) for row in w] for name, w in weights.items()}
        self.steps = 0

    def update(self, weights, gradient, lr):
        self.steps += 1
        factor = min(1.0, CLIP / (size(gradient) + 1e-6))
        for name, w in weights.items():
            decay = DECAY if is_block(name) else 0.0
            for row, g_row, m, v in zip(w, gradient[name], self.first[name], self.second[name]):
                for i, g in enumerate(g_row):
                    g *= factor
                    m[i] = BETA1 * m[i] + (1 - BETA1) * g
                    v[i] = BETA2 * v[i] + (1 - BETA2) * g * g
                    mean, square = m[i] / (1 - BETA1**self.steps), v[i] / (1 - BETA2**self.steps)
                    row[i] = row[i] * (1 - lr * decay) - lr * mean / (math.sqrt(square) + ADAM_EPS)


# ---- what a run starts from ----
def numbers(seed):
    """Whole numbers below 2^32, the generator of Knuth's MMIX."""
    state = seed
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield state >> 32


def initial_weights():
    """Multiples of 2^-14, so that float32 holds them: nearly normal, deviation 0.15 (0.1 around 1 in norms)."""
    source = numbers(1)
    uniform = lambda: next(source) / 2**32
    near_normal = lambda deviation: round((sum(uniform() for _ in range(12)) - 6) * deviation * 2**14) / 2**14
    shapes = {"model.embed_tokens.weight": (VOCAB, WIDTH)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        shapes[at + "input_layernorm.weight"] = shapes[at + "post_attention_layernorm.weight"] = (1, WIDTH)
        shapes.update({at + name + ".weight": shape for name, shape in BLOCK.items()})
    shapes["model.norm.weight"] = (1, WIDTH)
    shapes["lm_head.weight"] = (VOCAB, WIDTH)
    return {name: [[1 + near_normal(0.1) if "norm" in name else near_normal(0.15) for _ in range(columns)]
                   for _ in range(rows)] for name, (rows, columns) in shapes.items()}


def token_ids():
    """[steps + 1][sequences][length + 1]: a rule that can be learned, broken at every fourth token or so."""
    source, batches = numbers(2), []
    for _ in range(STEPS + 1):
        windows = []
        for _ in range(SEQUENCES):
            window = [next(source) % VOCAB]
            while len(window) <= LENGTH:
                window.append(next(source) % VOCAB if next(source) % 4 == 0 else (5 * window[-1] + 3) % VOCAB)
            windows.append(window)
        batches.append(windows)
    return batches


def safetensors(weights):
    header, at = {}, 0
    for name, rows in weights.items():
        count = len(rows) * len(rows[0])
        shape = [len(rows[0])] if "norm" in name else [len(rows), len(rows[0])]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * count]}
        at += 4 * count
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(struct.pack(f"<{len(row)}f", *row)
                                                          for rows in weights.values() for row in rows)


def summary(tensors):
    flat = lambda rows: [v for row in rows for v in row]
    return {name: {"l2": math.sqrt(math.fsum(v * v for v in flat(rows))), "sum": math.fsum(flat(rows))}
            for name, rows in tensors.items()}


def run(bits, batches):
    weights = initial_weights()
    optimizer = AdamW(weights)
    out = {"loss": [], "grad_norm": [], "lr": []}
    for step in range(STEPS):
        loss, logits, gradient = forward_backward(weights, bits, batches[step])
        if step == 0:
            out["logits0"] = logits[LENGTH - 1]  # of sequence 0, last position
            out["grad0"] = summary(gradient)
            out["grad0_entries"] = {f"{name}[{len(rows) // 2},0:8]": rows[len(rows) // 2][:8]
                                    for name, rows in gradient.items() if "norm" not in name}
        out["loss"].append(loss)
        out["grad_norm"].append(size(gradient))
        out["lr"].append(rate(step))
        optimizer.update(weights, gradient, out["lr"][-1])
    out["extra_loss"] = forward_backward(weights, bits, batches[STEPS])[0]
    out["params_end"] = summary(weights)
    return out


def same(a, b):
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return isinstance(b, float) and abs(a - b) <= 1e-11 * max(abs(a), 1e-3)
    return a == b


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit("Usage: make_golden.py [--check]")
    check_alphas()
    batches, init = token_ids(), safetensors(initial_weights())
    golden = {"what": "Made by tests/golden/make_golden.py: a Llama of "
                      f"{LAYERS} layers, width {WIDTH}, {HEADS} heads, MLP {MLP}, vocabulary {VOCAB}; losses in nats "
                      "per token, gradients before clipping",
              "batches": batches, "variants": {name: run(bits, batches) for name, bits in RUNS.items()}}
    json_path, init_path = os.path.join(HERE, "golden.json"), os.path.join(HERE, "init.safetensors")
    if sys.argv[1:] == ["--check"]:
        with open(init_path, "rb") as file:
            if file.read() != init:
                sys.exit(f"{init_path} is not what make_golden.py makes")
        with open(json_path, encoding="utf-8") as file:
            if not same(golden, json.load(file)):
                sys.exit(f"{json_path} is not what make_golden.py makes")
        return
    os.makedirs(HERE, exist_ok=True)
    with open(init_path, "wb") as file:
        file.write(init)
    with open(json_path, "w", encoding="utf-8") as file:
        json.dump(golden, file, separators=(",", ":"))
        file.write("\n")


main()
