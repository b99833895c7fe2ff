"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const HEIGHT = 220, PAPER_WIDTH = 310, NEAR = 9, MAX_MARK_GAP = 2;
  const KINDS = { settings: "settings change", resize: "resize", skipped: "skipped update", fault: "fault", resumed: "resume", ritz: "largest eigenvalues" };
  const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3], [4, 2], [1, 2]];

  // ---- numbers as words: the same look as in the rest of the report
  const significant = (v, n) => {
    if (v === 0) return "0";
    const power = Math.floor(Math.log10(Math.abs(v)));
    if (power < -4 || power > n + 1) return v.toExponential(n - 1).replace("e+", "e");
    return Number(v.toPrecision(n)).toFixed(Math.max(0, n - 1 - power));
  };
  const si = (v) => {
    for (const [size, prefix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(v) >= size * 0.9995) return `${Number((v / size).toPrecision(3))}${prefix}`;
    return `${Number(v.toPrecision(3))}`;
  };
  const clock = (s) => {
    const two = (n) => String(n).padStart(2, "0");
    const whole = Math.round(s), h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60;
    if (h >= 48) return `${Math.floor(h / 24)}d ${h % 24}h`;
    return h ? `${h}:${two(m)}:${two(whole % 60)}` : `${m}:${two(whole % 60)}`;
  };
  const short = (v) => String(Number(v.toPrecision(6)));
  const VALUE = {
    loss: (v) => significant(v, 4), rate: (v) => significant(v, 3), si,
    percent: (v) => `${(100 * v).toFixed(2)} %`, count: (v) => Math.round(v).toLocaleString("en"),
  };
  const TICK = {
    loss: short, rate: short, si, percent: (v) => `${short(100 * v)} %`,
    count: (v) => (!Number.isInteger(v) ? "" : v < 1e5 ? v.toLocaleString("en") : si(v)),
  };
  const TIME_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
    10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000, 7776000];

  // a loss that falls a hundredfold is a flat line on a linear axis
  function isWide(chart) {
    const known = chart.series.flatMap((one) => one.values.filter((v) => v != null));
    const low = known.reduce((a, b) => Math.min(a, b)), high = known.reduce((a, b) => Math.max(a, b));
    return chart.scale === "choice" && low > 0 && high / low > 50;
  }

  // ---- what the reader has chosen
  let axis = "samples";
  const log = new Set([...data.charts.keys()].filter((index) => isWide(data.charts[index])));
  const zooms = new Map(); // by axis: that of the run, or a chart that has one of its own
  let printing = false;
  let plots = [];
  let pointedAt = null; // charts share their cursor; only this one explains its marks
  const scaled = (samples) => (data.numTrain ? samples / data.numTrain : samples);
  const axisOf = (chart) => (chart.x ? chart : "run");
  const marksOf = (chart) => (chart.x ? chart.x.marks : data.marks);
  const xOf = (chart, mark) => (chart.x ? mark.x : axis === "samples" ? scaled(mark.samples) : mark.seconds);
  const xsOf = (chart) => (chart.x ? chart.x.values : axis === "samples" ? chart.samples.map(scaled) : chart.seconds);
  const xText = (chart, v) => chart.x ? significant(v, 3) : axis === "seconds" ? clock(v) : data.numTrain ? `epoch ${v.toFixed(1)}` : si(v);
  const xTick = (chart, v) => chart.x ? short(v) : axis === "seconds" ? clock(v) : data.numTrain ? short(v) : si(v);
  const xValue = (chart, v) => chart.x ? significant(v, 3) : axis === "seconds" ? clock(v) : data.numTrain ? v.toFixed(2) : si(v);
  const xLabel = (chart) => chart.x ? chart.x.label : axis === "seconds" ? "time" : data.numTrain ? "epoch" : "samples";
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function fullRange(chart) {
    const alike = data.charts.filter((other) => axisOf(other) === axisOf(chart));
    const ends = alike.flatMap((other) => { const xs = xsOf(other); return [xs[0], xs[xs.length - 1]]; });
    const low = Math.min(...ends), high = Math.max(...ends);
    const from = !chart.x && low < 0.1 * high ? 0 : low;
    return high > from ? [from, high] : [from - 0.5, from + 0.5];
  }

  // ---- marks: a vertical line with a shape of its own per kind
  function shape(context, kind, x, y, size) {
    context.beginPath();
    if (kind === "settings") {
      context.moveTo(x - size, y - size); context.lineTo(x + size, y - size); context.lineTo(x, y + size);
    } else if (kind === "resize") {
      context.rect(x - size, y - size, 2 * size, 2 * size);
    } else if (kind === "ritz") {
      context.moveTo(x, y + size); context.lineTo(x - size / 2, y - size); context.lineTo(x + size / 2, y - size);
    } else if (kind === "skipped") {
      context.moveTo(x, y - size); context.lineTo(x + size, y); context.lineTo(x, y + size); context.lineTo(x - size, y);
    } else if (kind === "resumed") {
      context.arc(x, y, size, 0, 2 * Math.PI);
    } else {
      for (const side of [-1, 1]) { context.moveTo(x - size, y - side * size); context.lineTo(x + size, y + side * size); }
      context.lineWidth = size * 0.7; context.stroke();
      return;
    }
    context.closePath(); context.fill();
  }

  function drawMarks(plot, chart) {
    const { ctx: context, bbox } = plot, pixel = uPlot.pxRatio;
    context.save();
    const lastAt = {};
    // a worker is lost where the group is resized for it: the fault must stay in sight
    const rank = (mark) => Number(mark.kind === "fault");
    for (const mark of [...marksOf(chart)].sort((a, b) => rank(a) - rank(b))) {
      const x = Math.round(plot.valToPos(xOf(chart, mark), "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      // thousands of skipped updates would paint the chart over
      if (x - (lastAt[mark.kind] ?? -Infinity) < MAX_MARK_GAP * pixel) continue;
      lastAt[mark.kind] = x;
      context.strokeStyle = context.fillStyle = colour(mark.kind);
      context.lineWidth = pixel; context.globalAlpha = 0.75;
      context.setLineDash([3 * pixel, 3 * pixel]);
      context.beginPath(); context.moveTo(x, bbox.top); context.lineTo(x, bbox.top + bbox.height); context.stroke();
      context.setLineDash([]); context.globalAlpha = 1;
      shape(context, mark.kind, x, bbox.top - 6 * pixel, 4 * pixel);
    }
    context.restore();
  }

  function showTip(plot, chart, tip) {
    const left = plot.cursor.left;
    const near = pointedAt !== plot.root.parentElement || left == null || left < 0 ? [] : marksOf(chart).filter(
      (mark) => Math.abs(plot.valToPos(xOf(chart, mark), "x") - left) <= NEAR);
    tip.hidden = near.length === 0;
    if (tip.hidden) return;
    tip.replaceChildren(...near.slice(0, 5).map((mark) => {
      const line = document.createElement("div"), kind = document.createElement("strong");
      kind.textContent = chart.x ? "" : `${KINDS[mark.kind]}, ${xText(chart, xOf(chart, mark))}: `;
      line.append(kind, mark.text);
      return line;
    }));
    if (near.length > 5) tip.append(`and ${near.length - 5} more`);
    const rightHalf = left > plot.over.clientWidth / 2, edge = plot.over.offsetLeft;
    tip.style.left = rightHalf ? "auto" : `${edge + left + 12}px`;
    tip.style.right = rightHalf ? `${plot.root.clientWidth - edge - left + 12}px` : "auto";
  }

  // ---- one chart
  function nearestKnown(values, index, steps) {
    if (steps) { // a level holds until the next point
      while (index > 0 && values[index] == null) index--;
    }
    for (let step = 0; step < values.length; step++) {
      if (values[index - step] != null) return index - step;
      if (values[index + step] != null) return index + step;
    }
    return index;
  }

  // nobody points at the chart: its legend tells the last values
  function showLast(plot) {
    const last = plot.data[0].length - 1;
    plot.setLegend({ idxs: plot.data.map((values, i) => (i === 0 ? last : nearestKnown(values, last))) });
  }

  // the next of 1, 2, 5, 10, ... at or below a positive number
  function roundDown(v) {
    const decade = 10 ** Math.floor(Math.log10(v));
    return decade * [5, 2, 1].find((step) => step * decade <= v * 1.0001);
  }

  function yScale(chart, index) {
    const known = chart.series.flatMap((one) => one.values.filter((v) => v != null));
    const positive = known.some((v) => v > 0);
    if (chart.scale === "log2" && known.every((v) => v > 0))
      return { distr: 3, log: 2, range: (_, low, high) => [2 ** Math.floor(Math.log2(low) - 0.01), 2 ** Math.ceil(Math.log2(high) + 0.01)] };
    if ((chart.scale === "log" || log.has(index)) && positive) return { distr: 3, log: 10, range: (_, low, high) => [roundDown(low), 1 / roundDown(1 / high)] };
    if (chart.format === "si") return { range: (_, low, high) => [Math.min(0, low), Math.max(high, 1) * 1.08] };
    if (chart.steps) return { range: (_, low, high) => [0, Math.max(1, Math.ceil(high)) + 1] };
    return {};
  }

  // a line at every digit of every decade would be a hatching
  const decades = (_, splits) => splits.map((v) => (Math.abs(Math.log10(v) % 1) < 1e-6 ? v : null));

  function seriesOf(chart) {
    return chart.series.map((one, i) => ({
      label: one.label, stroke: colour(`series-${i % 6}`), width: one.dots ? 1.5 : 2, dash: DASHES[i % 6],
      spanGaps: true, points: { show: one.dots && one.values.length < 400, size: 5, fill: colour(`series-${i % 6}`) },
      fill: chart.x ? `${colour(`series-${i % 6}`)}22` : undefined,
      paths: chart.steps ? uPlot.paths.stepped({ align: 1 }) : undefined,
      value: (_, v) => (v == null ? "" : VALUE[chart.format](v)),
    }));
  }

  // half of a sheet: nothing says how wide the page will be on paper
  const widthOf = (holder) => (printing ? PAPER_WIDTH : Math.max(120, holder.clientWidth));

  function draw(chart, index) {
    const holder = document.getElementById(`plot-${index}`);
    holder.replaceChildren();
    const tip = document.createElement("div");
    tip.className = "tip"; tip.hidden = true;
    const full = fullRange(chart), scale = yScale(chart, index);
    const line = { stroke: colour("soft"), grid: { stroke: colour("grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const options = {
      width: widthOf(holder), height: HEIGHT, padding: [16, 14, 0, 0],
      legend: { markers: { width: 2, dash: (_, i) => ["solid", "dashed", "dotted"][Math.max(0, i - 1) % 3] } },
      scales: { x: { time: false, range: () => zooms.get(axisOf(chart)) ?? full }, y: scale },
      axes: [
        { ...line, space: 64, size: 30, incrs: axis === "seconds" && !chart.x ? TIME_STEPS : undefined,
          values: (_, ticks) => ticks.map((v) => xTick(chart, v)) },
        { ...line, size: 58, space: 34, grid: scale.log === 10 ? { ...line.grid, filter: decades } : line.grid, values: (_, ticks) => ticks.map((v) => (v == null ? "" : TICK[chart.format](v))) },
      ],
      series: [{ label: xLabel(chart), value: (_, v) => (v == null ? "" : xValue(chart, v)) }, ...seriesOf(chart)],
      cursor: {
        sync: chart.x ? undefined : { key: "absa", scales: ["x", null] }, drag: { x: true, y: false, setScale: false }, y: false,
        dataIdx: (plot, i, at) => (i === 0 ? at : nearestKnown(plot.data[i], at, chart.steps)),
        bind: { dblclick: () => () => { zooms.delete(axisOf(chart)); redrawAll(); return null; } },
      },
      hooks: {
        draw: [(plot) => drawMarks(plot, chart)], ready: [showLast],
        setCursor: [(plot) => { showTip(plot, chart, tip); if (plot.cursor.idx == null) showLast(plot); }],
        setSelect: [(plot) => {
          if (plot.select.width < 4) return;
          zooms.set(axisOf(chart), [plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x")]);
          setTimeout(drawAll);
        }],
      },
    };
    const values = chart.series.map((one) => (scale.distr === 3 ? one.values.map((v) => (v > 0 ? v : null)) : one.values));
    const plot = new uPlot(options, [xsOf(chart), ...values], holder);
    holder.append(tip);
    return plot;
  }

  function drawAll() {
    plots.forEach((plot) => plot.destroy());
    plots = data.charts.map(draw);
  }
  const redrawAll = () => setTimeout(drawAll);

  function drawKey() {
    const marks = data.charts.flatMap((chart) => marksOf(chart));
    const kinds = Object.keys(KINDS).filter((kind) => marks.some((mark) => mark.kind === kind));
    document.getElementById("key").replaceChildren(...kinds.map((kind) => {
      const item = document.createElement("li"), canvas = document.createElement("canvas");
      const pixel = window.devicePixelRatio || 1;
      canvas.width = canvas.height = 12 * pixel; canvas.style.width = canvas.style.height = "12px";
      canvas.setAttribute("aria-hidden", "true");
      const context = canvas.getContext("2d");
      context.fillStyle = context.strokeStyle = colour(kind);
      shape(context, kind, 6 * pixel, 6 * pixel, 4.5 * pixel);
      item.append(canvas, KINDS[kind]);
      return item;
    }));
  }

  function repaint() { drawKey(); drawAll(); }

  // ---- the reader's choices
  for (const radio of document.querySelectorAll("input[name=axis]")) {
    radio.checked = radio.value === axis; // a reload keeps the old choice in some browsers
    radio.addEventListener("change", () => { axis = radio.value; zooms.delete("run"); drawAll(); });
  }
  for (const box of document.querySelectorAll("input[data-log]")) {
    box.checked = log.has(Number(box.dataset.log));
    box.addEventListener("change", () => {
      const index = Number(box.dataset.log);
      if (box.checked) log.add(index); else log.delete(index);
      drawAll();
    });
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  for (const [event, begins] of [["beforeprint", true], ["afterprint", false]])
    window.addEventListener(event, () => {
      printing = begins;
      document.documentElement.classList.toggle("printing", printing);
      repaint();
    });
  new ResizeObserver(() => plots.forEach((plot) => {
    const width = widthOf(plot.root.parentElement);
    if (width !== plot.width) plot.setSize({ width, height: HEIGHT });
  })).observe(document.body);
  for (const holder of document.querySelectorAll(".plot"))
    for (const event of ["mouseover", "touchstart"])
      holder.addEventListener(event, () => { pointedAt = holder; }, { capture: true, passive: true });
  repaint();
  document.documentElement.dataset.drawn = String(plots.length);
})();
