"""The two forms in which llama.cpp is measured: a llama-bench of the user's, or the package xllamacpp.

Both tell `about` (version, and the instruction sets they were built with), `open` a model and `measure` it.
"""

import json, re, statistics, subprocess, sys

import common
from common import fail

SYSTEM_INFO = """
import ctypes, sys
f = ctypes.CDLL(sys.argv[1]).llama_print_system_info
f.restype = ctypes.c_char_p
print(f().decode())
"""


class LlamaBench:
    """A llama-bench of the user's own build, run anew each time."""

    def __init__(self, path, arguments):
        self.program = common.executable(path, "give the llama-bench of a build of llama.cpp for this machine")
        self.arguments = arguments
        self.about = {"version": "unknown", "instructions": self._instructions()}

    def _instructions(self):
        """llama.cpp's own line, which only its library can tell: asked in another process."""
        libraries = subprocess.run(["ldd", self.program], capture_output=True, text=True).stdout
        found = re.search(r"=> (\S*libllama\.so\S*)", libraries)
        if not found:
            return "unknown: llama-bench does not tell, and it was built without shared libraries"
        line = subprocess.run([sys.executable, "-c", SYSTEM_INFO, found[1]], capture_output=True, text=True).stdout
        return line.strip() or "unknown: its library does not tell"

    def open(self, model):
        self.model = model

    def measure(self, a, threads):
        """Tokens per second of prompt and of writing."""
        command = f"-p {a.prefill} -n {a.decode} -t {threads} -r {a.repeats} -o json".split()
        results = common.run_json([self.program, "-m", self.model, *command, *self.arguments])
        first = results[0]
        self.about["version"] = f"{first.get('build_commit', 'unknown')} ({first.get('build_number', 0)})"
        self.size, self.weights = first["model_size"], first["model_n_params"]
        return {("prefill" if r["n_prompt"] else "decode"): statistics.median(r["samples_ts"]) for r in results}

    def close(self):
        pass


class Wheel:
    """The package xllamacpp, whose server runs inside this process. It also samples each token (greedily)."""

    def __init__(self):
        self.package = common.package("xllamacpp")
        self.about = {
            "version": f"xllamacpp {self.package.__version__}",
            "instructions": self.package.get_system_info().strip(),
        }
        self.server, self.size = None, None

    def open(self, model):
        self.model, self.server = model, None

    def _start(self, threads, context):
        p = self.package.CommonParams()
        p.model.path = str(self.model)
        p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
        p.n_parallel, p.n_ctx, p.verbosity = 1, context, 0
        p.fit_params, p.cache_ram_mib, p.n_ctx_checkpoints = False, 0, 0
        self.server, self.threads = self.package.Server(p), threads

    def measure(self, a, threads):
        if self.server is None or self.threads != threads:
            self.server = None  # the old one's memory goes first
            self._start(threads, a.prefill + a.decode + 64)
            self._ask(a.prefill, 1)  # warms up, as llama-bench does
        prompts = [self._ask(a.prefill, 1)["prompt_per_second"] for _ in range(a.repeats)]
        written = [self._ask(1, a.decode)["predicted_per_second"] for _ in range(a.repeats)]
        return {"prefill": statistics.median(prompts), "decode": statistics.median(written)}

    def _ask(self, prompt, tokens):
        answer = self.server.handle_completions(
            {
                "prompt": [1] + [300 + i % 50 for i in range(prompt - 1)],
                "n_predict": tokens,
                "ignore_eos": True,
                "cache_prompt": False,
                "temperature": 0,
                "top_k": 1,
            }
        )
        if "timings" not in answer:
            fail(f"xllamacpp: {json.dumps(answer)[:200]}")
        return answer["timings"]

    def close(self):
        self.server = None
