#include "lowbit/report/page_assets.h"

namespace lowbit::report {

std::string_view page_css() {
  return R"(
:root{color-scheme:light dark;--card:#fff;--rule:#e0dcd3;--accent:#2563a8;--heat:37 99 168;--good:#1c8a74;
--bad:#c0392b;--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif;
--serif:"Iowan Old Style","Palatino Linotype",Palatino,"Book Antiqua",Charter,Georgia,"DejaVu Serif",serif;
--mono:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media(prefers-color-scheme:dark){:root{--card:#1a1d23;--rule:#30343d;--accent:#6aa9ee;--heat:106 169 238;
--good:#4fc4aa;--bad:#ff7b6b}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 var(--sans);font-variant-numeric:tabular-nums}
main{max-width:70rem;margin:0 auto;padding:clamp(1.5rem,5vw,3.75rem) clamp(1rem,4vw,2.5rem) 3rem}
h1,h2{font-family:var(--serif);font-weight:600;letter-spacing:-.015em;text-wrap:balance}
h1{font-size:clamp(2.1rem,7vw,3.5rem);line-height:1.08;margin:.35rem 0 .8rem}
h1 .format{color:var(--accent);white-space:nowrap}
h2{font-size:clamp(1.45rem,4vw,1.8rem);line-height:1.2;margin:0 0 .35rem}
h3{font-size:.95rem;font-weight:600;margin:0 0 .5rem}
p{margin:0 0 1rem;max-width:46rem}
a{color:var(--accent)}
.eyebrow{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;color:var(--soft);font-size:.85rem;
letter-spacing:.02em}
.pill{display:inline-flex;align-items:center;gap:.45em;color:var(--ink)}
.pill::before{content:"";width:.6em;height:.6em;border-radius:50%;background:var(--s4)}
.pill.finished::before{background:var(--good)}
.pill.stopped::before{background:var(--bad)}
.lede{font-size:1.12rem;line-height:1.5;color:var(--soft)}
.lede b{color:var(--ink);font-weight:600}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1.25rem;margin:1.1rem 0 0;font-size:.92rem}
nav a{text-decoration:none;padding:.3rem 0}
nav a:hover{text-decoration:underline}
section{border-top:1px solid var(--rule);margin-top:clamp(2.2rem,5vw,3.2rem);padding-top:clamp(1.2rem,3vw,1.7rem)}
section>p,.note{color:var(--soft);font-size:.95rem}
.tiles{display:flex;flex-wrap:wrap;gap:1px;margin:1.9rem 0 0;padding:0;background:var(--rule);
border:1px solid var(--rule);border-radius:12px;overflow:hidden}
.tiles div{flex:1 1 22%;min-width:10.5rem;background:var(--card);padding:1rem 1.1rem 1.05rem}
.tiles dt{font-size:.82rem;color:var(--soft);margin:0 0 .15rem}
.tiles dd{margin:0;font-size:1.7rem;line-height:1.15;font-weight:500;letter-spacing:-.02em;white-space:nowrap}
.tiles dd small{font-size:.95rem;font-weight:400;color:var(--soft);letter-spacing:0;margin-left:.3em}
.tiles dd+dd{font-size:.82rem;line-height:1.4;font-weight:400;color:var(--soft);letter-spacing:0;margin-top:.3rem;
white-space:normal}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,25rem),1fr));gap:1.25rem;margin-top:1.1rem}
figure{margin:0}
.card{display:flex;flex-direction:column;background:var(--card);border:1px solid var(--rule);border-radius:12px;
padding:1rem 1.1rem .9rem;min-width:0}
.card .plot circle{stroke:var(--card)}
.hero{margin-top:1.1rem}
.card figcaption{font-weight:600;font-size:.95rem;margin:0 0 .45rem}
.card figcaption span{font-weight:400;color:var(--soft)}
.narrow{display:none}
@media(max-width:43rem){.wide{display:none}.narrow{display:block}.card{padding:.85rem .8rem .7rem}.tiles div{
flex-basis:40%;min-width:8.5rem;padding:.8rem .85rem}.tiles dd{font-size:1.4rem}}
.scroll{overflow-x:auto;flex:1}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th{font-weight:500;color:var(--soft);text-align:left}
th,td{padding:.34rem .6rem .34rem 0;vertical-align:top}
.heat{font-size:.8rem;height:100%;border-collapse:separate;border-spacing:2px;table-layout:fixed}
.heat th,.heat td{padding:.3rem .15rem;text-align:center;vertical-align:middle;white-space:nowrap;overflow:hidden;
text-overflow:ellipsis}
.heat th:first-child{text-align:left;width:2.2em;padding-left:0}
.heat tr:first-child th{height:2rem}
.heat.named{height:auto}
.heat.named th:first-child{width:45%}
.heat td{background:rgb(var(--heat)/var(--a));border-radius:4px}
.pairs{columns:19rem;column-gap:2.5rem;margin:1rem 0 0}
.pairs div{display:flex;justify-content:space-between;gap:1rem;break-inside:avoid;border-bottom:1px solid var(--rule);
padding:.36rem 0;font-size:.92rem}
.pairs dt{color:var(--soft);flex:none;max-width:60%;overflow-wrap:anywhere}
.pairs dd{margin:0;text-align:right;overflow-wrap:anywhere;min-width:0}
.flags{font-family:var(--mono)}
.flags div{font-size:.82rem}
.sample{margin:1.1rem 0 0;display:grid;grid-template-columns:6.5rem 1fr;gap:.2rem 1.25rem}
.sample figcaption{font-size:.85rem;color:var(--soft);padding-top:.25rem}
.sample blockquote{margin:0;font:1.06rem/1.6 var(--serif);white-space:pre-wrap;overflow-wrap:anywhere;max-width:44rem;
unicode-bidi:isolate}
.sample blockquote b{font-weight:600;color:var(--accent)}
@media(max-width:43rem){.sample{grid-template-columns:1fr}}
details{margin-top:1.4rem}
summary{cursor:pointer;color:var(--accent);font-size:.95rem}
.alert{border-left:3px solid var(--bad);padding:.1rem 0 .1rem .9rem;margin:1.2rem 0 0;color:var(--ink)}
.sizes{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1.25rem 3rem;
margin-top:1.1rem;align-items:start}
.sizes .pairs{columns:1;margin:0}
footer{margin-top:3.5rem;border-top:1px solid var(--rule);padding-top:1rem;color:var(--soft);font-size:.85rem}
.tip{position:absolute;z-index:9;pointer-events:none;background:var(--card);color:var(--ink);
border:1px solid var(--rule);border-radius:8px;padding:.4rem .6rem;font-size:.8rem;line-height:1.45;
box-shadow:0 4px 18px rgb(0 0 0/.14);white-space:nowrap}
.tip i{display:inline-block;width:.7em;height:.7em;border-radius:50%;background:var(--c);margin-right:.5em}
.plot .hair{stroke:var(--soft);stroke-opacity:.6}
@media print{body{font-size:11pt}nav,.tip{display:none}.card,.tiles,.sample{break-inside:avoid}}
)";
}

std::string_view page_script() {
  // Values come back from the drawn coordinates and the axis ends in data-x and data-y: nothing is stored twice.
  return R"js(
(() => {
  const tip = document.createElement('div');
  tip.className = 'tip';
  tip.hidden = true;
  document.body.append(tip);
  const show = (v, percent) => {
    if (percent) return +(100 * v).toPrecision(3) + ' %';
    const a = Math.abs(v);
    return a && (a < 1e-3 || a >= 1e7) ? v.toExponential(2) : String(+v.toPrecision(4));
  };
  const axis = text => {
    const [low, high, log, percent] = text.split(' ').map(Number);
    return {at: p => log ? low * Math.pow(high / low, p) : low + (high - low) * p, percent};
  };
  for (const svg of document.querySelectorAll('svg[data-frame]')) {
    const [left, right, top, bottom] = svg.dataset.frame.split(' ').map(Number);
    const ax = axis(svg.dataset.x), ay = axis(svg.dataset.y);
    let lines;
    const hair = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    hair.setAttribute('class', 'hair');
    svg.append(hair);
    const hide = () => { tip.hidden = true; hair.setAttribute('d', ''); };
    svg.addEventListener('pointerleave', hide);
    svg.addEventListener('pointermove', event => {
      lines ??= [...svg.querySelectorAll('g.s')].map(g => ({
        name: g.dataset.name,
        colour: [...g.classList].find(c => /^s\d$/.test(c)),
        points: [...g.querySelector('.line').getAttribute('d').matchAll(/[ML]([\d.]+) ([\d.]+)/g)]
          .map(m => [+m[1], +m[2]]),
      }));
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
      const near = lines.map(line => line.points.reduce((a, b) =>
        Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a, [1e9, 0]));
      const anchor = near.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a, [1e9, 0])[0];
      if (anchor > 1e8) return hide();
      hair.setAttribute('d', `M${anchor} ${top}V${bottom}`);
      tip.textContent = '';
      const head = document.createElement('div');
      const value = ax.at((anchor - left) / (right - left));
      head.textContent = `${svg.dataset.label} ${Math.abs(value) >= 10 ? Math.round(value) : show(value, ax.percent)}`;
      tip.append(head);
      lines.forEach((line, i) => {
        if (Math.abs(near[i][0] - anchor) > 5) return;
        const row = document.createElement('div'), dot = document.createElement('i');
        row.className = line.colour;
        row.append(dot, `${line.name} ${show(ay.at((bottom - near[i][1]) / (bottom - top)), ay.percent)}`);
        tip.append(row);
      });
      tip.hidden = false;
      const wide = tip.offsetWidth, room = document.documentElement.clientWidth;
      tip.style.left = Math.max(4, Math.min(event.pageX + 16, room - wide - 8)) + 'px';
      tip.style.top = event.pageY + 18 + 'px';
    });
  }
})();
)js";
}

}  // namespace lowbit::report
