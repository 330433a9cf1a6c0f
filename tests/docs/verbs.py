#!/usr/bin/env python3
"""Compares docs/reference/verbs.md with what the program says of itself, or writes the page.

Usage: verbs.py PAGE PROGRAM [--write]     exit code 1 and the first difference if they differ
"""
import difflib
import subprocess
import sys

BEGINNING = """# Verbs and flags

This page lists every verb and every flag. It is for anyone who looks one up; `lowbit help VERB` prints the same in a
terminal. The program writes this page (`scripts/docs.sh --verbs`), and a test compares the two.

- A flag takes its value as `--flag VALUE` or `--flag=VALUE`. The column *value* shows what it takes: nothing for a switch,
  `N` for a number, `FILE...` for one or more.
- `--config FILE.toml` reads flags from a file. Its keys are flags without dashes; flags on the command line win.
- [Exit codes](exit_codes.md) and [environment variables](environment.md) have pages of their own.

"""


def main(page, program, write):
    said = subprocess.run([program, "help", "--markdown"], check=True, capture_output=True, text=True).stdout
    wanted = BEGINNING + said.rstrip("\n") + "\n"
    if write:
        with open(page, "w", encoding="utf-8") as file:
            file.write(wanted)
        print(f"{page} is what {program} says")
        return 0
    found = open(page, encoding="utf-8").read()
    if found == wanted:
        print("the page is what the program says")
        return 0
    print(f"{page} differs from what {program} says; scripts/docs.sh --verbs writes it again:")
    print("\n".join(list(difflib.unified_diff(found.split("\n"), wanted.split("\n"), "page", "program", lineterm="", n=0))[:20]))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], "--write" in sys.argv[3:]))
