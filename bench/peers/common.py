"""What the comparisons share: shapes, running programs, medians of paired ratios, tables, and how busy the machine was.

Standard library alone, so that --help works without any peer's package.
"""

import argparse, importlib, json, os, pathlib, resource, shutil, statistics, subprocess, sys, tempfile

SHAPES = {  # as `lowbit bench --shape`: width, layers, heads, key-value heads, MLP, vocabulary, tied
    "smollm2-135m": (576, 30, 9, 3, 1536, 49152, True),
    "llama-1b": (2048, 22, 32, 4, 5632, 32000, False),
    "107m": (512, 30, 8, 2, 1536, 32000, True),
}
PRESETS = {  # as `lowbit train --size`: layers, width, heads, MLP; a vocabulary of 32000, untied
    "0.5m": (2, 128, 2, 512),
    "1m": (4, 128, 2, 512),
    "2m": (5, 192, 3, 512),
    "4m": (5, 256, 4, 768),
    "8m": (5, 384, 6, 1024),
    "16m": (5, 512, 8, 1536),
    "30m": (6, 640, 5, 1792),
    "50m": (7, 768, 6, 2048),
    "100m": (8, 1024, 8, 2816),
    "200m": (10, 1280, 10, 3584),
    "430m": (13, 1664, 13, 4608),
    "800m": (16, 2048, 16, 5632),
    "1.6b": (20, 2560, 20, 6912),
}
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16", "asimddp", "i8mm")


def fail(message):
    """Ends the program with one line: what, where, what to do."""
    sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {message}")


def package(name, install=None):
    """A module of a peer; where it is missing, the line says what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        fail(f"cannot import {name} ({error}); install it: pip install {install or name}")


def executable(path, build):
    """The program's absolute path; `build` says how to come by it."""
    found = shutil.which(path)
    if not found:
        fail(f"no program {path}; {build}")
    return str(pathlib.Path(found).absolute())  # a link is kept: a virtual environment is one


def run(command, **options):
    """What a program printed; its last line of complaint is ours when it fails."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        fail(f"{pathlib.Path(str(command[0])).name} failed ({done.returncode}): {lines[-1]}")
    return done.stdout


def run_json(command, **options):
    text = run(command, **options)
    try:
        return json.loads(text)
    except ValueError:
        fail(f"{pathlib.Path(str(command[0])).name} printed no JSON: {text[:80]!r}")


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be 1 or more")
    return value


def numbers(text):
    return [positive(x) for x in text.split(",")]


def names(text):
    return [x for x in text.split(",") if x]


class Shape:
    """A Llama's sizes by the names of `lowbit bench --shape`."""

    def __init__(self, name):
        self.name = name
        if name in SHAPES:
            values = SHAPES[name]
        elif name in PRESETS:
            layers, width, heads, mlp = PRESETS[name]
            values = (width, layers, heads, heads, mlp, 32000, False)
        else:
            values = tuple(int(x) for x in name.split("x") if x.isdigit()) + (False,)
            if len(values) != 7 or name.count("x") != 5 or min(values[:6]) < 1 or values[0] % values[2]:
                fail(
                    f"unknown --shape {name}; choose {', '.join([*SHAPES, *PRESETS])}, "
                    "or WIDTHxLAYERSxHEADSxKVxMLPxVOCAB"
                )
        self.width, self.layers, self.heads, self.kv_heads, self.mlp, self.vocab, self.tied = values
        self.kv_width = self.width // self.heads * self.kv_heads

    def block_matrices(self):
        """Name, rows and row length of each matrix of one block."""
        w, kv, m = self.width, self.kv_width, self.mlp
        return (
            ("attn_q", w, w),
            ("attn_k", kv, w),
            ("attn_v", kv, w),
            ("attn_output", w, w),
            ("ffn_gate", m, w),
            ("ffn_up", m, w),
            ("ffn_down", w, m),
        )

    def block_weights(self):
        return self.layers * sum(n * k for _, n, k in self.block_matrices())


def spread(values):
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def paired(ours, theirs):
    """Ratios round by round: medians of these are told, never ratios of medians."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def with_spread(s, digits=2):
    return f"{s['median']:.{digits}f} ({s['lowest']:.{digits}f} to {s['highest']:.{digits}f})"


def table(head, rows):
    """Aligned columns: the first to the left, the others to the right."""
    rows = [head, *rows]
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            str(cell).rjust(w) if i else str(cell).ljust(w) for i, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    )


def processor():
    """Name and instruction sets that matter here, as Linux tells them."""
    name, flags = "unknown processor", set()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = set(value.split())
    return {"name": name, "instructions": [i for i in INSTRUCTIONS if i in flags], "processors": os.cpu_count()}


class Load:
    """What others used of the processors between its making and `end`, from /proc/stat, less this program's own."""

    def __init__(self):
        self.before = self._now()

    @staticmethod
    def _now():
        ticks = [int(x) for x in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        used = sum(
            r.ru_utime + r.ru_stime for r in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )
        user, nice, system, idle, wait, irq, soft, steal = (t / os.sysconf("SC_CLK_TCK") for t in ticks)
        return user + nice + system + irq + soft - used, steal, user + nice + system + idle + wait + irq + soft + steal

    def end(self):
        """Shares of the processors' time; call it after the children have ended, since only then they are counted."""
        others, steal, total = (b - a for a, b in zip(self.before, self._now()))
        share = {"others": max(0.0, others / total), "steal": steal / total}
        return share | {"busy": max(share.values()) > 0.05}


def busy_line(load):
    return (
        f"busy machine: others used {100 * load['others']:.0f} %, stolen {100 * load['steal']:.0f} %; "
        "measure again when it is quiet"
        if load["busy"]
        else ""
    )


def scratch(parent):
    """A temporary folder: in memory where there is such a place, so that no disk works beside a measurement."""
    if parent and not os.path.isdir(parent):
        fail(f"--folder {parent} is not a folder")
    return tempfile.TemporaryDirectory(
        prefix="peers-", dir=parent or ("/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    )


def progress(text):
    print(text, file=sys.stderr, flush=True)
