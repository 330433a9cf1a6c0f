#!/usr/bin/env python3
"""Refuses lines of more than 120 characters in sources, scripts and documents.

Usage: check_lines.py ROOT      exit code 1 and each such line with its file
       check_lines.py --self-test

Excepted in Markdown: rows of tables, code blocks (they show what programs print), and lines that a link, an image or a
command makes long.
"""
import os
import re
import sys
import tempfile

FOLDERS = ("lowbit", "tests", "bench", "scripts", "cmake", "docs", ".ci")
ENDINGS = (".cpp", ".h", ".sh", ".py", ".txt", ".cmake", ".md", ".css", ".toml", ".yml")
WIDEST = 120


def too_long(path):
    markdown, block = path.endswith(".md"), False
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if markdown and line.lstrip().startswith("```"):
                block = not block
            if len(line) <= WIDEST:
                continue
            plain = re.sub(r"`[^`]*`", "", line)
            if markdown and (block or line.startswith("|") or re.search(r"https?://|\]\(", line) or len(plain) < 40):
                continue
            yield number, len(line)


def check(root):
    found = 0
    files = [os.path.join(root, name) for name in sorted(os.listdir(root)) if name.endswith(ENDINGS)]
    for folder in FOLDERS:
        for at, folders, names in os.walk(os.path.join(root, folder)):
            folders[:] = sorted(f for f in folders if f not in ("__pycache__", "corpus"))
            files += [os.path.join(at, name) for name in sorted(names) if name.endswith(ENDINGS)]
    for path in files:
        for number, width in too_long(path):
            print(f"{os.path.relpath(path, root)}:{number}: {width} characters wide; {WIDEST} are allowed")
            found += 1
    return 1 if found else 0


def self_test():
    with tempfile.TemporaryDirectory() as root:
        os.mkdir(os.path.join(root, "lowbit"))
        def holds(name, text):
            path = os.path.join(root, "lowbit", name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            answer = check(root)
            os.remove(path)
            return answer
        assert holds("a.cpp", "x" * 120 + "\n") == 0
        assert holds("a.cpp", "ü" * 120 + "\n") == 0
        assert holds("a.cpp", "int a;\n" + "x" * 121) == 1
        assert holds("a.md", "x" * 121 + "\n") == 1
        assert holds("a.md", "| " + "x" * 121 + "\n```\n" + "x" * 130 + "\n```\n") == 0
        assert holds("a.md", "```\n```\n" + "x" * 121) == 1
    print("each fault is seen")


if sys.argv[1:] == ["--self-test"]:
    self_test()
else:
    sys.exit(check(sys.argv[1]))
