#!/usr/bin/env python3
"""Runs the commands of one page of docs/start or docs/howto and compares their output with what the page shows.

Usage: run_page.py PAGE --programs FOLDER [--print]

A page's ```sh blocks run in order, each by `bash -euo pipefail`, in one temporary folder, with FOLDER first on PATH. A
```text block right behind one shows its output, standard output and standard error together. Comments steer a block:

  <!-- not run: REASON -->   it is not run (network, root, hours, another machine); the reason is required
  <!-- exit: N -->           it must end with exit code N instead of 0
  <!-- example -->           before a ```text block: what it shows differs from run to run and is not compared

The lines that a page shows must appear in the output, whole and in this order. `...` stands for any text within a line
and, on a line of its own, for any lines. A number stands for any number, with or without a unit's prefix, since speeds
and losses depend on the machine; runs of spaces count as one. --print shows the whole output of every block, to put it
into the page.
"""
import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

NUMBER = re.compile(r"\d+[dhm] \d+[hms]\b|"
                    r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?(?: ?(?:[kMGT]?B|[kMGT]|ms|us|s|min|h)\b)?")


class Block:
    def __init__(self, line, text):
        self.line, self.text, self.exit, self.shown, self.shown_line = line, text, 0, None, 0
        self.reason = None  # why it is not run


def blocks_of(path):
    """The ```sh blocks of a page, each with the output that the page shows behind it.

    Exits with 2 for a page that misuses this."""
    found, comments, last = [], [], None
    lines = open(path, encoding="utf-8").read().split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        comment = re.fullmatch(r"\s*<!--\s*(.*?)\s*-->\s*", line)
        fence = re.fullmatch(r"(\s*)```(\w*)\s*", line)
        if comment:
            comments.append(comment[1])
        elif fence:
            begin, indent = at, len(fence[1])
            at += 1
            while at < len(lines) and lines[at].strip() != "```":
                at += 1
            if at == len(lines):
                sys.exit(f"{path}:{begin + 1}: a block that does not end")
            text = "\n".join(l[indent:] for l in lines[begin + 1:at])
            if fence[2] == "sh":
                last = Block(begin + 1, text)
                for word in comments:
                    if word.startswith("not run"):
                        last.reason = word[len("not run"):].lstrip(": ")
                        if not last.reason:
                            sys.exit(f"{path}:{begin + 1}: 'not run' without a reason")
                    elif word.startswith("exit:"):
                        last.exit = int(word[5:])
                    else:
                        sys.exit(f"{path}:{begin + 1}: no comment of a command: {word}")
                found.append(last)
            elif fence[2] == "text" and last and last.shown is None and "example" not in comments:
                last.shown, last.shown_line = text, begin + 1
            comments = []
        elif line.strip():
            comments = []
        at += 1
    return found


def comparable(line):
    return " ".join(NUMBER.sub("#", line).split())


def pattern(line):
    return re.compile(".*".join(re.escape(part) for part in re.split(r" ?\.\.\. ?", comparable(line))))


def first_missing(shown, output):
    """The first shown line that does not follow in the output, or None."""
    have = [comparable(line) for line in re.split(r"[\r\n]", output)]
    at, gap = 0, True
    for line in shown.split("\n"):
        if not line.strip():
            continue
        if line.strip() == "...":
            gap = True
            continue
        want = pattern(line)
        while at < len(have) and (not have[at] or (gap and not want.fullmatch(have[at]))):
            at += 1
        if at == len(have) or not want.fullmatch(have[at]):
            return line
        at, gap = at + 1, False
    return None


def run(page, programs, folder, show=False):
    environment = dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}", HOME=folder, LC_ALL="C.UTF-8")
    ran = 0
    for block in blocks_of(page):
        where = f"{page}:{block.line}"
        if block.reason:
            print(f"{where}: not run: {block.reason}")
            continue
        begin = time.monotonic()
        # A session of its own, so that whatever a block left in the background ends with it.
        process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", block.text], cwd=folder, env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            output = process.communicate(timeout=300)[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            print(f"{where}: still running after 300 s:\n{block.text}")
            return 1
        ran += 1
        print(f"{where}: {time.monotonic() - begin:.1f} s")
        if show:
            print(f"{block.text}\n--- prints:\n{output}---")
        if process.returncode != block.exit:
            print(f"{where}: exit code {process.returncode}, wanted {block.exit}:\n"
                  f"{block.text}\n--- its output:\n{output}")
            return 1
        missing = first_missing(block.shown, output) if block.shown is not None else None
        if missing is not None:
            print(f"{page}:{block.shown_line}: the output does not go on with this line:\n{missing}\n"
                  f"--- the output:\n{output}")
            return 1
    if ran == 0:
        print(f"{page}: no command was run")
    return 0


def self_test():
    assert first_missing("a 1.5 s\nb", "x\na 300 ms\nb\n") is None
    assert first_missing("a 1\nb", "a 2\nc\nb\n") == "b"
    assert first_missing("a 1\n...\nb", "a 2\nc\nb\n") is None
    assert first_missing("speed ... tok/s", "speed 24.2 k tokens, 99 tok/s") is None
    assert first_missing("in 18.5 s", "in 1m 01s") is None
    assert first_missing("speed 1 ...", "speed 2") is None
    assert first_missing("b\n...\na", "a\nb\n") == "a"
    assert first_missing("w4a4 done", "w2a2 bad") == "w4a4 done"
    assert first_missing("3.15 MB -> 802 kB", "4.00 GB -> 17 B") is None
    with tempfile.TemporaryDirectory() as folder:
        page = os.path.join(folder, "page.md")

        def outcome(text):
            with open(page, "w", encoding="utf-8") as file:
                file.write(text)
            return run(page, "/nowhere", folder)

        assert outcome("```sh\ntouch made\n```\n```sh\nls made\n```\n```text\nmade\n```\n") == 0
        assert outcome("```sh\necho one\n```\n```text\ntwo\n```\n") == 1
        assert outcome("```sh\nfalse | true\n```\n") == 1
        assert outcome("<!-- exit: 3 -->\n```sh\nexit 3\n```\n") == 0
        assert outcome("<!-- not run: it needs root -->\n```sh\nfalse\n```\n") == 0
        for text in ("<!-- not run -->\n```sh\nfalse\n```\n", "```sh\nfalse\n"):
            try:
                outcome(text)
                raise AssertionError(text)
            except SystemExit:
                pass
    print("self test passed")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="?")
    parser.add_argument("--programs", help="folder of lowbit and lowbit-train")
    parser.add_argument("--print", action="store_true", help="show the output of every block")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if options.self_test:
        sys.exit(self_test())
    if not options.page or not options.programs:
        parser.error("a page and --programs are needed")
    with tempfile.TemporaryDirectory(prefix="lowbit-page-") as folder:
        sys.exit(run(os.path.abspath(options.page), os.path.abspath(options.programs), folder, options.print))
