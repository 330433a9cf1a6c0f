#!/usr/bin/env python3
"""Draws the pictures of README.md from the committed tables: docs/figures/*.svg. Python's standard library alone.

Usage: scripts/figures.py            writes the pictures
       scripts/figures.py --check    exit code 1 if a picture is not what this script draws

Sources: docs/lab/study/law_4m.csv (loss by size and format) and docs/figures/llama_cpp.csv (speed).
"""
import csv
import math
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Readable on white and on dark pages: the style follows the reader's colour scheme.
LIGHT = {
    "paper": "#ffffff", "ink": "#1c2126", "soft": "#5a646e", "rule": "#d9dee3", "axis": "#8a949e", "bf16":
    "#6b7680", "w4a4": "#0b6fc2", "w3a3": "#7a4fc0", "w2a2": "#c2470b", "ours": "#0b6fc2", "theirs": "#a3adb7",
}
DARK = {
    "paper": "#14181c", "ink": "#e8ecf0", "soft": "#a4afba", "rule": "#2b333b", "axis": "#6b7680", "bf16":
    "#a9b4bf", "w4a4": "#58b0ff", "w3a3": "#b795ff", "w2a2": "#ff9457", "ours": "#58b0ff", "theirs": "#5d6873",
}


def colours(of):
    fills = "".join(f".{name}{{fill:{of[name]}}}" for name in ("paper", "ink", "soft"))
    strokes = "".join(f".{name}{{stroke:{of[name]}}}" for name in ("rule", "axis"))
    series = "".join(f".{name} .line{{stroke:{of[name]}}}.{name} .dot,.{name} .name,.{name}.bar{{fill:{of[name]}}}"
                     for name in ("bf16", "w4a4", "w3a3", "w2a2", "ours", "theirs"))
    return fills + strokes + series + f".dot{{stroke:{of['paper']}}}"


STYLE = (
    'text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","DejaVu Sans",Arial,sans-serif;'
    "font-size:14px}"
    "text.title{font-size:18px;font-weight:650}text.note{font-size:13px}text.small{font-size:12.5px}"
    ".strong,.name{font-weight:650}.line{fill:none;stroke-width:2.6;stroke-linejoin:round;stroke-linecap:round}"
    ".dot{stroke-width:1.5}\n" + colours(LIGHT) + "\n@media (prefers-color-scheme:dark){" + colours(DARK) + "}\n")


def rows(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


class Drawing:
    def __init__(self, width, height, title, description):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            f' role="img" aria-labelledby="t d">\n<title id="t">{title}</title>\n<desc id="d">{description}</desc>\n'
            f"<style>{STYLE}</style>\n"
            f'<rect class="paper" width="{width}" height="{height}" rx="10"/>\n']

    def text(self, x, y, text, kind="ink", anchor="start"):
        self.parts.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>\n')

    def line(self, x0, y0, x1, y1, kind):
        self.parts.append(f'<line class="{kind}" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>\n')

    def add(self, text):
        self.parts.append(text + "\n")

    def done(self):
        return "".join(self.parts) + "</svg>\n"


def block_bytes(row):
    """Bytes that the layers' weights take as stored: codes, and in coded formats a float32 scale for each row."""
    layers, width = int(row["layers"]), int(row["width"])
    mlp = {96: 256, 128: 512}[width]  # docs/lab/study/law_4m.toml
    weights = layers * (4 * width * width + 3 * width * mlp)
    assert weights + width * (2 * layers + 1) == int(row["N"])
    if row["format"] == "bf16":
        return 2 * weights
    scales = layers * (5 * width + 2 * mlp)
    return weights * int(row["format"][1]) / 8 + 4 * scales


LABELS = {"bf16": (13, 5, "start"), "w4a4": (-2, -16, "start"),
          "w3a3": (-8, -13, "start"), "w2a2": (13, 5, "start")}
NAMES = {"bf16": "16 bits (bf16)", "w4a4": "4 bits (w4a4)", "w3a3": "3 bits (w3a3)", "w2a2": "2 bits (w2a2)"}


def loss_by_bytes():
    width, height = 780, 440
    left, right, top, bottom = 74, 152, 86, 62
    draw = Drawing(width, height, "Loss against stored bytes, by number format",
                   "Held-out loss of models trained at 16, 4, 3 and 2 bits, over the bytes their layers take. "
                   "At equal bytes 4 bits have the lowest loss.")
    runs = {}
    for row in rows("docs/lab/study/law_4m.csv"):
        runs.setdefault(row["format"], []).append((block_bytes(row) / 1000, float(row["loss"])))
    x_low, x_high, y_low, y_high = math.log(50), math.log(2250), 3.76, 4.07
    x = lambda v: left + (math.log(v) - x_low) / (x_high - x_low) * (width - left - right)
    y = lambda v: height - bottom - (v - y_low) / (y_high - y_low) * (height - top - bottom)
    draw.text(24, 34, "4-bit models reach the loss of 16-bit ones in about half the bytes", "ink title")
    draw.text(24, 56,
              "Loss on unseen books after 4.2 M tokens of training, lower is better; each dot is one trained model",
              "soft note")
    for tick in (3.8, 3.85, 3.9, 3.95, 4.0, 4.05):
        draw.line(left, y(tick), width - right, y(tick), "rule")
        draw.text(left - 10, y(tick) + 4.5, f"{tick:.2f}", "soft small", "end")
    draw.line(left, height - bottom, width - right, height - bottom, "axis")
    for tick in (50, 100, 200, 500, 1000, 2000):
        draw.line(x(tick), height - bottom, x(tick), height - bottom + 5, "axis")
        draw.text(x(tick), height - bottom + 21, f"{tick} kB" if tick < 1000 else f"{tick // 1000} MB", "soft small",
                  "middle")
    draw.text((left + width - right) / 2, height - 16, "bytes that the layers' weights take as stored (log scale)",
              "ink note", "middle")
    draw.add(f'<text class="ink note" transform="translate(20 {(top + height - bottom) / 2:.1f}) rotate(-90)"'
             ' text-anchor="middle">loss, nats per token</text>')
    for name in ("bf16", "w2a2", "w3a3", "w4a4"):
        points = sorted(runs[name])
        draw.add(f'<g class="{name}">')
        if len(points) > 1:
            path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
            draw.add(f'<polyline class="line" points="{path}"/>')
        for a, b in points:
            draw.add(f'<circle class="dot" cx="{x(a):.1f}" cy="{y(b):.1f}" r="5.5"/>')
        a, b = points[0] if name == "w4a4" else points[-1]
        across, down, anchor = LABELS[name]
        draw.text(x(a) + across, y(b) + down, NAMES[name], "name", anchor)
        draw.add("</g>")
    return draw.done()


def speed_beside_llama_cpp():
    table = rows("docs/figures/llama_cpp.csv")
    width, row_height, top, left = 780, 70, 92, 96
    height = top + row_height * len(table) + 18
    draw = Drawing(width, height, "Speed of text generation beside llama.cpp",
                   "Tokens per second of lowbit and llama.cpp for a model of 107 M parameters at 1, 2, 4 and 8 bits.")
    draw.text(24, 34, "Tokens per second beside llama.cpp", "ink title")
    draw.text(24, 56,
              "Text generation, 107 M parameters, 2 threads of a Zen 4; factors are medians of paired runs",
              "soft note")
    longest = max(float(row["lowbit"]) for row in table)
    scale = (width - left - 190) / longest
    for i, row in enumerate(table):
        at = top + i * row_height
        draw.text(left - 14, at + 30, row["bits"], "ink strong", "end")
        for j, who in enumerate(("lowbit", "llama_cpp")):
            length = float(row[who]) * scale
            kind = "ours" if j == 0 else "theirs"
            draw.add(f'<rect class="{kind} bar" x="{left}" y="{at + 25 * j:.1f}" width="{length:.1f}" '
                     'height="21" rx="3"/>')
            text = f'{int(row[who]):,}  {"lowbit" if j == 0 else "llama.cpp"} {row[who + "_format"]}'
            draw.text(left + length + 9, at + 25 * j + 15.5, text, "ink small" if j == 0 else "soft small")
            if j == 0:
                draw.add(f'<text class="paper strong" x="{left + length - 9:.1f}" y="{at + 15.5:.1f}" '
                         f'text-anchor="end" font-size="13">{float(row["ratio"]):.1f} ×</text>')
    return draw.done()


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit("Usage: scripts/figures.py [--check]")
    for name, draw in (("loss_by_bytes", loss_by_bytes), ("speed_beside_llama_cpp", speed_beside_llama_cpp)):
        path = os.path.join(ROOT, "docs", "figures", name + ".svg")
        text = draw()
        if sys.argv[1:]:
            with open(path, encoding="utf-8") as file:
                if file.read() != text:
                    sys.exit(f"{path} is not what scripts/figures.py draws; run the script and commit the picture")
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)


main()
