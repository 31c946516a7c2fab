// One curve: raw and filtered values, the band that the detector thinks usual, marks where an alarm began and ended.
import { say, number, unit, clockTime, language } from "./words.js";

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// `marks()` gives [[time_ms, "onset" | "clear"], ...]; `band()` [low, high] or nothing; `span` two times in ms, or nothing
// for what there is. Returns {draw, close}.
export function curve(box, channel, ring, { marks = () => [], band = () => undefined, span, height = 132 } = {}) {
  let plot = null;
  let width = 0;

  function columns() {
    const t = Array.from(ring.column("t"), (ms) => ms / 1000);
    const v = Array.from(ring.column("v"), (x) => (Number.isNaN(x) ? null : x));
    const k = Array.from(ring.column("k"), (x) => (Number.isNaN(x) ? null : x));
    const [low, high] = band() || [null, null];
    const flat = (x) => t.map(() => x);
    return [t, flat(low), flat(high), v, k];
  }

  function marked(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.lineWidth = 2 * devicePixelRatio;
    for (const [ms, phase] of marks()) {
      const x = plot.valToPos(ms / 1000, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = style(phase === "clear" ? "--good" : "--dead");
      ctx.setLineDash(phase === "clear" ? [2 * devicePixelRatio, 3 * devicePixelRatio] : []);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  function fitted(_, lowest, highest) {
    if (lowest === null || highest === null) return [0, 1];
    const room = (highest - lowest || Math.abs(highest) * 0.1 || 1) * 0.08;
    return [lowest - room, highest + room];
  }

  function make() {
    const stepped = channel.kind !== "gauge" ? window.uPlot.paths.stepped({ align: 1 }) : undefined;
    const axis = { stroke: style("--soft"), grid: { stroke: style("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    plot = new window.uPlot({
      width, height, legend: { show: false }, cursor: { show: false },
      tzDate: (s) => new Date(s * 1e3),
      scales: { x: { time: true, range: span ? () => span.map((ms) => ms / 1000) : undefined }, y: { range: fitted } },
      axes: [
        { ...axis, size: 28, space: 72, values: (_, ticks) => ticks.map((s) => clockTime(s * 1000).slice(0, language() === "ko" ? 8 : 8)) },
        { ...axis, size: 56, space: 28, values: (_, ticks) => ticks.map((x) => number(x, 4)) },
      ],
      bands: [{ series: [2, 1], fill: style("--band") }],
      series: [
        {}, { stroke: "transparent", width: 0, points: { show: false } }, { stroke: "transparent", width: 0, points: { show: false } },
        { stroke: style("--raw"), width: 1, paths: stepped, points: { show: false } },
        { stroke: style("--accent"), width: 2, paths: stepped, points: { show: false } },
      ],
      hooks: { draw: [marked] },
    }, columns(), box);
    box.setAttribute("role", "img");
  }

  function draw() {
    if (!window.uPlot) return;
    const room = Math.floor(box.clientWidth);
    if (room < 40 || !ring.n) return;
    if (!plot) {
      width = room;
      make();
    } else {
      if (room !== width) {
        width = room;
        plot.setSize({ width, height });
      }
      plot.setData(columns());
    }
    const last = ring.v[ring.n - 1];
    const named = `${language() === "ko" ? channel.label.ko || channel.point : channel.label.en || channel.point}`;
    box.setAttribute("aria-label", say("curve", { name: named, value: `${number(last)} ${unit(channel.unit)}` }));
  }

  const size = new ResizeObserver(() => {
    if (plot && Math.floor(box.clientWidth) !== width) draw();
  });
  size.observe(box);
  return {
    draw,
    close() {
      size.disconnect();
      if (plot) plot.destroy();
      plot = null;
    },
  };
}
