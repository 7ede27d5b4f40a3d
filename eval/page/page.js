"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2"];
const codecs = [...new Set(data.rows.map(row => row.codec))];
const colourOf = name => COLOURS[codecs.indexOf(name) % COLOURS.length];
const hidden = new Set();
const element = id => document.getElementById(id);
const unique = values => [...new Set(values)];

/* ---- small helpers ------------------------------------------------------------------------------------------- */

function make(tag, attributes = {}, text = "") {
  const svg = ["svg", "g", "path", "circle", "line", "text", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}

/* Fills a select, keeping its choice where that still exists. */
function offer(select, options) {
  const before = select.value;
  select.replaceChildren(...options.map(([value, label]) => make("option", { value }, label)));
  if (options.some(([value]) => String(value) === before)) select.value = before;
}

function ticks(low, high) {
  const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= raw);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high + step * 1e-6; n++) found.push(n * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return found.map(value => [value, value.toFixed(digits)]);
}

function span(values) {
  const low = Math.min(...values), high = Math.max(...values), room = (high - low || Math.abs(high) || 1) * 0.05;
  return [low - room, high + room];
}

/* ---- charts -------------------------------------------------------------------------------------------------- */

/* series: [{name, colour, dash, points: [{x, y, label}]}]; hidden names are left out but stay in the legend.
   With `log`, heights are logarithms, of 1 for what is less. */
function chart(place, series, xLabel, yLabel, redraw, log = false) {
  const width = 640, height = 380, left = 62, right = 12, top = 12, bottom = 44;
  const shown = series.filter(one => !hidden.has(one.name) && one.points.length);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  const tip = make("div", { class: "tip" });
  const all = shown.flatMap(one => one.points);
  const scaled = y => log ? Math.log10(Math.max(y, 1)) : y;
  if (all.length) {
    const [x0, x1] = span(all.map(p => p.x)), [y0, y1] = span(all.map(p => scaled(p.y)));
    const at = p => [left + (p.x - x0) / (x1 - x0) * (width - left - right),
      height - bottom - (scaled(p.y) - y0) / (y1 - y0) * (height - top - bottom)];
    for (const [value, text] of ticks(x0, x1)) {
      const [x] = at({ x: value, y: y0 });
      svg.append(make("line", { class: "axis", x1: x, x2: x, y1: top, y2: height - bottom }));
      svg.append(make("text", { x, y: height - bottom + 16, "text-anchor": "middle" }, text));
    }
    const powers = [...Array(12).keys()].map(n => [10 ** n, String(10 ** n)]);
    for (const [value, text] of log ? powers.filter(([n]) => y0 <= scaled(n) && scaled(n) <= y1) : ticks(y0, y1)) {
      const [, y] = at({ x: x0, y: value });
      svg.append(make("line", { class: "axis", x1: left, x2: width - right, y1: y, y2: y }));
      svg.append(make("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, text));
    }
    for (const one of shown) {
      const places = one.points.map(at);
      svg.append(make("path", { class: "curve", stroke: one.colour, "stroke-dasharray": one.dash ? "6 4" : "none",
        d: "M" + places.map(p => p.map(n => n.toFixed(1)).join(",")).join("L") }));
      one.points.forEach((point, n) => {
        const dot = make("circle", { class: "point", cx: places[n][0], cy: places[n][1], r: all.length > 80 ? 2.5 : 4.5,
          fill: one.colour });
        dot.append(make("title", {}, point.label));
        dot.addEventListener("pointerenter", () => { tip.textContent = point.label; });
        svg.append(dot);
      });
    }
  }
  svg.append(make("text", { x: (left + width) / 2, y: height - 8, "text-anchor": "middle" }, xLabel));
  svg.append(make("text", { x: -(height - bottom) / 2, y: 14, "text-anchor": "middle", transform: "rotate(-90)" }, yLabel));
  const legend = make("div", { class: "legend" });
  for (const one of series) {
    const button = make("button", { type: "button", "aria-pressed": String(!hidden.has(one.name)) });
    button.append(make("i", { style: `background:${one.colour}` }), one.name);
    button.addEventListener("click", () => {
      if (!hidden.delete(one.name)) hidden.add(one.name);
      redraw();
    });
    legend.append(button);
  }
  place.replaceChildren(svg, tip, legend);
}

function drawCurves() {
  const measure = element("curve-measure").value, chosen = element("curve-sequence").value;
  const found = data.curves.find(one => one.title === chosen).curves[measure] || {};
  const series = Object.entries(found).map(([name, points]) => ({
    name, colour: colourOf(name), dash: !name.startsWith("ncm-"),
    points: points.map(([x, y]) => ({ x, y, label: `${name}: ${x.toFixed(4)} bpp, ${y.toFixed(4)}` })),
  }));
  chart(element("curve-chart"), series, "bits per pixel", data.measures[measure], drawCurves);
}

/* ---- frame by frame ------------------------------------------------------------------------------------------ */

function pointsOf(sequence, codec) {
  return data.rows.filter(row => row.sequence === sequence && row.codec === codec).sort((a, b) => b.bpp - a.bpp);
}

function drawFrames() {
  const sequence = element("frame-sequence").value, measure = element("frame-measure").value;
  const number = Number(element("frame-rate").value);
  const lines = { bits: [], quality: [] };
  for (const name of codecs) {
    const row = pointsOf(sequence, name)[number];
    const frames = row && data.frames[row.id];
    if (!frames) continue;
    const line = column => frames.filter(frame => frame[column] !== null).map(frame => ({
      x: frame.poc, y: frame[column],
      label: `${name}, frame ${frame.poc} (${frame.kind}): ${frame.bits} bits, ${Number(frame[measure]).toFixed(3)}`,
    }));
    const style = { name, colour: colourOf(name), dash: !name.startsWith("ncm-") };
    lines.bits.push({ ...style, points: line("bits") });
    lines.quality.push({ ...style, points: line(measure) });
  }
  chart(element("bits-chart"), lines.bits, "frame", "bits (logarithmic)", drawFrames, true);
  chart(element("quality-chart"), lines.quality, "frame", data.measures[measure], drawFrames);
}

/* ---- side by side -------------------------------------------------------------------------------------------- */

function picturesOf(codec) {
  const sequence = element("picture-sequence").value, frame = Number(element("picture-frame").value);
  return data.pictures.filter(one => one.sequence === sequence && one.poc === frame && one.codec === codec);
}

function rowOf(picture) {
  return data.rows.find(row => row.id === picture.row);
}

function show(side, picture) {
  const select = element(`${side}-layer`);
  offer(select, Object.keys(picture.layers).map(name => [name, name]));
  element(`${side}-picture`).src = picture.layers[select.value];
  const row = rowOf(picture);
  const quality = row ? `, ${row.option} ${row.crf}, sequence ${row.bpp.toFixed(4)} bpp` : "";
  const own = picture.bits === null ? "" : `; this frame (${picture.kind}) ${picture.bits} bits, ` +
    `${picture.psnr.toFixed(2)} dB RGB`;
  const note = picture.notes[select.value];
  element(`${side}-caption`).textContent = `${picture.codec}${quality}${own}${note ? "; " + note : ""}`;
}

function drawPictures() {
  const sequence = element("picture-sequence").value;
  const own = data.pictures.filter(one => one.sequence === sequence);
  offer(element("picture-frame"), unique(own.map(one => one.poc)).map(poc => [poc, poc]));
  const frame = Number(element("picture-frame").value);
  const found = unique(own.filter(one => one.poc === frame).map(one => one.codec));
  const names = [...found.filter(name => name !== "source"), ...found.filter(name => name === "source")];
  for (const side of ["left", "right"]) {
    const select = element(`${side}-codec`), fresh = !select.options.length;
    offer(select, names.map(name => [name, name]));
    if (fresh) select.value = names[side === "left" ? 0 : Math.min(1, names.length - 1)];
  }
  const left = picturesOf(element("left-codec").value), right = picturesOf(element("right-codec").value);
  offer(element("left-rate"), left.map((one, n) => [n, rowOf(one) ? `${rowOf(one).bpp.toFixed(4)} bpp` : "-"]));
  const first = left[Number(element("left-rate").value)] || left[0];
  const rate = rowOf(first) ? rowOf(first).bpp : 0;
  const distance = one => rowOf(one) && rate ? Math.abs(Math.log(rowOf(one).bpp / rate)) : 0;
  const second = right.reduce((best, one) => distance(one) < distance(best) ? one : best);
  show("left", first);
  show("right", second);
}

function moveLine() {
  const share = element("slider").value / 10;
  element("left-picture").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  element("line").style.left = `${share}%`;
}

function drag(event) {
  if (event.type === "pointermove" && !event.buttons) return;
  const box = element("stage").getBoundingClientRect();
  element("slider").value = Math.round(1000 * (event.clientX - box.left) / box.width);
  moveLine();
}

/* ---- start --------------------------------------------------------------------------------------------------- */

function listen(ids, redraw) {
  for (const id of ids) element(id).addEventListener("change", redraw);
  redraw();
}

function start() {
  element("conditions").textContent = data.conditions;
  const commands = unique(data.rows.map(row => row.command).filter(Boolean));
  element("commands").append(...commands.map(text => {
    const line = make("p");
    line.append(make("code", {}, text));
    return line;
  }));
  offer(element("curve-sequence"), data.curves.map(one => [one.title, one.title]));
  offer(element("curve-measure"), Object.entries(data.measures));
  listen(["curve-sequence", "curve-measure"], drawCurves);
  const framed = unique(data.rows.filter(row => data.frames[row.id]).map(row => row.sequence));
  if (framed.length) {
    const most = Math.max(...codecs.map(name => pointsOf(framed[0], name).length));
    offer(element("frame-sequence"), framed.map(title => [title, title]));
    offer(element("frame-rate"), [...Array(most).keys()].map(n => [n, n ? `${n + 1}` : "1 (highest)"]));
    offer(element("frame-measure"), Object.entries(data.measures));
    listen(["frame-sequence", "frame-rate", "frame-measure"], drawFrames);
  } else element("frames").remove();
  if (data.pictures.length) {
    offer(element("picture-sequence"), unique(data.pictures.map(one => one.sequence)).map(title => [title, title]));
    listen(["picture-sequence", "picture-frame", "left-codec", "left-rate", "left-layer", "right-codec", "right-layer"],
      drawPictures);
    element("slider").addEventListener("input", moveLine);
    for (const name of ["pointerdown", "pointermove"]) element("stage").addEventListener(name, drag);
    moveLine();
  } else element("pictures").remove();
}

start();
