#!/usr/bin/env python3
"""Compares docs/reference/verbs.md with what the program says of itself, or writes the page.

Usage: verbs.py PAGE PROGRAM [--write]     exit code 1 and the first difference if they differ
"""
import difflib
import subprocess
import sys


def main(page, program, write):
    wanted = subprocess.run([program, "help", "--markdown"], check=True, capture_output=True, text=True).stdout
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
    difference = difflib.unified_diff(found.split("\n"), wanted.split("\n"), "page", "program", lineterm="", n=0)
    print("\n".join(list(difference)[:20]))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], "--write" in sys.argv[3:]))
