#!/usr/bin/env python3
"""Checks the Markdown of the repository: links, anchors, named files, width of lines, and that every page is on the
map.

Usage: check_links.py ROOT [--self-test]     prints each fault with file and line; exit code 1 if there is any.

- A relative link leads to a file or folder that is there; from a page of docs/ it stays inside docs/, since the site is
  made of docs/ alone. An anchor, in a link to the same page or another, is a heading there.
- A path in `code` that begins with a folder of the checkout (docs/, lowbit/, tests/, scripts/, bench/, cmake/) names a
  file or a folder that is there. Words with placeholders (NAME, *, {}) are passed over.
- Lines of text are at most 120 wide. Tables, links and code blocks may be longer.
- A message that docs/reference/troubleshooting.md quotes (a line `> `message``) is in the sources, `...` standing
  for anything.
- A list and a table have an empty line before them: without one the site joins them to the paragraph above.
- Terms are the field's (WORDS below), numbers begin with a digit (0.15), and intervals have one sign (±).
- Every page of docs/ is in the navigation of mkdocs.yml, and all that is there exists.
"""
import os
import re
import subprocess
import sys
import tempfile

LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+(?:\([^()]*\))?)\)|!\[[^\]]*\]\(([^()\s]+)\)")
NAMED = re.compile(r"`((?:docs|lowbit|tests|scripts|bench|cmake)/[A-Za-z0-9_./-]*)")
WORDS = {  # what not to write, outside of code: what to write
    r"foret[eo]l[dl]\w*": "predict",
    r"\bway back\b": "backward pass",
    r"\b(first|second|third) caches?\b": "L1, L2, L3",
    r"\bin turns\b": "interleaved",
    r"\b(gone|goes|go|going) on with\b": "resume, continue",
    r"\bgone through\b": "traversed",
    r"\bhang together\b": "correlate",
    r"\+-": "±",
    r"(?<![\w.)\]/])\.\d": "0.15, not .15",
}
FOLDERS = ("out", "build", "build-sanitized", "build-arm64", "runs", ".git")


def pages(root):
    """Markdown files that git tracks or would track; without git, all of them."""
    try:
        listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "*.md"], check=True,
                                capture_output=True, text=True).stdout.split("\n")
        return sorted(name for name in listed if name and os.path.exists(os.path.join(root, name)))
    except (OSError, subprocess.CalledProcessError):
        found = []
        for folder, names, files in os.walk(root):
            names[:] = [name for name in names if name not in FOLDERS]
            found += [os.path.relpath(os.path.join(folder, name), root) for name in files if name.endswith(".md")]
        return sorted(found)


def slug(heading):
    """An anchor as Python-Markdown's toc makes it from a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"[`*]", "", text)
    text = re.sub(r"[^\w\s-]", "", text, flags=re.ASCII).strip().lower()
    return re.sub(r"[-\s]+", "-", text)


def parse(path):
    """(lines outside of code blocks as (number, text), anchors)."""
    text, anchors, fenced, seen = [], set(), None, {}
    for number, line in enumerate(open(path, encoding="utf-8").read().split("\n"), 1):
        fence = re.match(r"\s*(```+|~~~+)", line)
        if fence and (fenced is None or line.strip() == fenced):
            fenced = fence[1] if fenced is None else None
            continue
        if fenced is not None:
            continue
        heading = re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
        if heading:
            name = slug(heading[1])
            times = seen.get(name, 0)
            seen[name] = times + 1
            anchors.add(name if times == 0 else f"{name}_{times}")
        anchors.update(re.findall(r'<a (?:id|name)="([^"]+)"', line))
        text.append((number, line))
    return text, anchors


def check(root):
    faults = []
    parsed = {page: parse(os.path.join(root, page)) for page in pages(root)}
    for page, (lines, _) in parsed.items():
        in_docs = page.startswith("docs/")
        faults += joined_faults(page, lines)
        for number, line in lines:
            where = f"{page}:{number}"
            unbreakable = "](" in line or "http" in line or re.search(r"`[^`]{50,}`", line)
            if len(line) > 120 and not line.lstrip().startswith("|") and not unbreakable:
                faults.append(f"{where}: {len(line)} characters wide; 120 are allowed")
            bare = re.sub(r"`[^`]*`", "", line)
            for word, better in WORDS.items():
                found = re.search(word, re.sub(r"\]\([^)]*\)", "]", bare))
                if found:
                    faults.append(f"{where}: '{found[0]}': write {better}")
            for match in LINK.finditer(bare):
                target = match[1] or match[2]
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                to = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
                if in_docs and not to.startswith("docs"):
                    faults.append(f"{where}: {target} leaves docs/; name the file in `code` instead")
                elif not os.path.exists(os.path.join(root, to)):
                    faults.append(f"{where}: {target}: there is no {to}")
                elif anchor and to.endswith(".md") and anchor not in parsed.get(to, parse(os.path.join(root, to)))[1]:
                    faults.append(f"{where}: {target}: {to} has no heading '{anchor}'")
                elif anchor and os.path.isdir(os.path.join(root, to)):
                    faults.append(f"{where}: {target}: an anchor in a folder; name the page")
            for match in NAMED.finditer(line):
                name = match[1].rstrip(".")
                rest = line[match.end():match.end() + 1]
                if rest in "*{<>$" and rest or re.search(r"[A-Z]{3,}", name.replace("README", "")):
                    continue
                if not os.path.exists(os.path.join(root, name)):
                    faults.append(f"{where}: there is no {name}")
    faults += navigation_faults(root, parsed)
    faults += message_faults(root, parsed.get("docs/reference/troubleshooting.md", ([], set()))[0])
    return faults


def joined_faults(page, lines):
    faults, before = [], (0, "")
    for number, line in lines:
        above = before[1] if before[0] == number - 1 else ""
        item, table = r"([-*]|1\.) \S", r"\|"
        inside = r"\s|[-*] |\d+\. |#|<|\|"  # of a list, or no paragraph
        if above.strip() and re.match(f"{item}|{table}", line) and not re.match(inside, above):
            what = "table" if line[0] == "|" else "list"
            faults.append(f"{page}:{number}: an empty line is missing before this {what}")
        before = (number, line)
    return faults


def message_faults(root, lines):
    quoted = [(number, match[1]) for number, line in lines if (match := re.fullmatch(r"> `(.*)`", line))]
    if not quoted:
        return []
    sources = []
    for folder, _, names in os.walk(os.path.join(root, "lowbit")):
        for name in names:
            if name.endswith((".cpp", ".h")):
                text = open(os.path.join(folder, name), encoding="utf-8").read()
                text = re.sub(r'"\s*\n\s*"', "", text)  # a message over several lines of source
                sources.append(re.sub(r"\{(:[^{}]*)?\}", "...", text))
    faults = []
    for number, message in quoted:
        parts = [part for part in message.split("...") if len(part.strip()) > 3]
        wanted = re.compile("(?s:.{0,60})".join(re.escape(part) for part in parts))
        if not parts or not any(wanted.search(text) for text in sources):
            faults.append(f"docs/reference/troubleshooting.md:{number}: no source has the message: {message}")
    return faults


def navigation_faults(root, parsed):
    path = os.path.join(root, "mkdocs.yml")
    if not os.path.exists(path):
        return [] if not any(p.startswith("docs/") for p in parsed) else [
            "there is no mkdocs.yml, which lists the pages"]
    listed = set(re.findall(r":\s*([\w./-]+\.md)\s*$", open(path, encoding="utf-8").read(), re.MULTILINE))
    have = {page[len("docs/"):] for page in parsed if page.startswith("docs/")}
    return ([f"mkdocs.yml: docs/{name} is not in its navigation" for name in sorted(have - listed)] +
            [f"mkdocs.yml: there is no docs/{name}" for name in sorted(listed - have)])


def self_test():
    with tempfile.TemporaryDirectory() as root:
        def faults_of(text, navigation="nav:\n  - A: a.md\n"):
            os.makedirs(os.path.join(root, "docs"), exist_ok=True)
            open(os.path.join(root, "mkdocs.yml"), "w").write(navigation)
            open(os.path.join(root, "README.md"), "w").write("# Top\n")
            open(os.path.join(root, "docs", "a.md"), "w").write(text)
            return check(root)

        good = "# A title, with `code`\n\n[same](#a-title-with-code) " \
               "[self](a.md#a-title-with-code) `docs/a.md` `docs/NAME.md`\n"
        assert faults_of(good) == [], faults_of(good)
        for text, part in (("[x](b.md)", "no docs/b.md"), ("[x](#none)", "no heading"),
                           ("[x](a.md#none)", "no heading"),
                           ("[x](../README.md)", "leaves docs"), ("`docs/gone.md`", "no docs/gone.md"),
                           ("x " * 70, "wide"),
                           ("a loss of .15", "0.15"), ("1 +- 2", "±"), ("the way back", "backward pass"),
                           ("text\n- a\n- b", "before this list"), ("text\n| a |\n|---|", "before this table")):
            faults = faults_of(text + "\n")
            assert len(faults) == 1 and part in faults[0], (text, faults)
        os.makedirs(os.path.join(root, "docs", "reference"))
        os.makedirs(os.path.join(root, "lowbit"))
        open(os.path.join(root, "lowbit", "a.cpp"), "w").write(
            'fail_input("{} is bad; "\n           "mend {:g} of it", a);')
        quotes = os.path.join(root, "docs", "reference", "troubleshooting.md")
        for message, count in (("... is bad; mend ... of it", 0), ("is bad; mend ... of them", 1), ("is good", 1)):
            open(quotes, "w").write(f"> `{message}`\n")
            assert len(faults_of("# A\n", "nav:\n  - A: a.md\n  - T: reference/troubleshooting.md\n")) == count, message
        os.remove(quotes)
        assert "not in its navigation" in faults_of("# A\n", "nav:\n")[0]
        assert "no docs/b.md" in faults_of("# A\n", "nav:\n  - A: a.md\n  - B: b.md\n")[0]
        assert faults_of("```\n[x](b.md) `docs/gone.md`\n```\n") == []
    print("self test passed")
    return 0


if __name__ == "__main__":
    if "--self-test" in sys.argv:
        sys.exit(self_test())
    found = check(sys.argv[1])
    print("\n".join(found) if found else "every link and every name leads somewhere")
    sys.exit(1 if found else 0)
