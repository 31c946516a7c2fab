// One device: curves of its points, quality, what to do next, bytes on demand, maintenance, commands.
import { h, write, badge, change } from "./dom.js";
import { say, both, number, span, unit } from "./words.js";
import { store, on, ask, curves, device, stateOf, Ring } from "./store.js";
import { curve } from "./curve.js";
import { failed, field, form, qualityState, qualityWord } from "./parts.js";

export function page(main, name) {
  const own = device(name);
  if (!own) {
    main.append(h("h1", {}, say("device")), h("p", {}, say("noDevice")));
    return [];
  }
  const state = badge("good", "");
  const why = h("p", {});
  const next = h("p", { class: "next" });
  const facts = h("dl", { class: "facts" });
  for (const [word, text] of [["profile", own.profile], ["line", own.link], ["place", both(own.place)], ["asset", own.asset]]) {
    if (text) facts.append(h("div", {}, h("dt", {}, say(word)), h("dd", {}, text)));
  }
  const points = own.channels.map((channel) => point(channel, own)).filter(Boolean);
  main.append(h("p", { class: "crumb" }, h("a", { href: "#/" }, say("cabinet"))), h("h1", {}, own.name), h("p", { class: "row" }, state), why, next, facts,
    h("ul", { class: "legend" }, h("li", { class: "raw" }, say("raw")), h("li", { class: "filtered" }, say("filtered")), h("li", { class: "band" }, say("usual"))),
    h("div", { class: "points" }, points.map((one) => one.box)));
  const work = store.me.role === "operate" ? actions(own) : null;
  main.append(work ? work.box : h("p", { class: "soft" }, say("mayLook")));

  function told() {
    const now = stateOf(name);
    if (!now) return;
    change(state, now.state, say(now.state));
    write(why, both(now.why));
    write(next, both(now.next) ? `${say("nextStep")}: ${both(now.next)}` : "");
    next.hidden = !both(now.next);
    if (work) work.tell(now);
  }
  const draw = () => points.forEach((one) => one.draw());
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
    const one = points.find((known) => known.box === entry.target);
    if (one) one.see(entry.isIntersecting);
  }), { rootMargin: "200px" });
  points.forEach((one) => seen.observe(one.box));
  let kept = null;
  let over = false;
  async function fetchCurves() {
    try {
      const found = await curves(name);
      if (over) return found.close();
      if (kept) kept.close();
      kept = found;
      points.forEach((one) => one.take(found.rings.get(one.channel)));
      draw();
    } catch { /* it comes with the next `first` */ }
  }
  fetchCurves();
  told();
  return [on("cabinet", told), on("rows", draw), on("bands", draw), on("alarms", draw), on("first", () => { told(); fetchCurves(); }), () => {
    over = true;
    seen.disconnect();
    points.forEach((one) => one.close());
    if (kept) kept.close();
  }];
}

function point(channel, own) {
  const of = store.channels[channel];
  if (!of) return null;
  const value = h("span", { class: "value" });
  const quality = badge("good", "");
  const canvas = h("div", { class: "canvas" });
  const bounds = h("span", { class: "soft" });
  const box = h("section", { class: "point" },
    h("h3", {}, both(of.label) || of.point, " ", h("span", { class: "soft" }, of.point), of.unproven && h("span", { class: "tag" }, say("unproven"))),
    h("p", { class: "row" }, value, quality, bounds), canvas);
  const subjects = [own.name, of.name];
  const marks = () => store.past.filter((event) => subjects.includes(event.subject) && event.phase !== "update")
    .map((event) => [event.phase === "clear" ? event.at_ms : event.since_ms, event.phase]);
  const band = () => (store.bands[channel] ? store.bands[channel].slice(1) : undefined);
  let drawn = null;
  let ring = new Ring();
  let near = false;
  function draw() {
    const latest = store.latest[channel];
    if (latest) {
      const word = latest[1] === null ? "" : of.words[String(Math.round(latest[1]))];
      write(value, word || `${number(latest[1])} ${unit(of.unit)}`.trim());
      change(quality, qualityState(latest[3]), qualityWord(latest[3]));
    }
    const now = band();
    write(bounds, now ? `${say("usual")} ${number(now[0], 4)} … ${number(now[1], 4)}` : "");
    if (!near) return;
    if (!drawn) drawn = curve(canvas, of, ring, { marks, band });
    drawn.draw();
  }
  return {
    channel, box, draw,
    take(found) {
      if (!found) return;
      ring = found;
      if (drawn) drawn.close();
      drawn = null;
    },
    see(is) {
      near = is;
      if (is) draw();
      else this.close();
    },
    close() {
      if (drawn) drawn.close();
      drawn = null;
    },
  };
}

function actions(own) {
  const heard = h("p", { role: "status" });
  const bytes = h("div", { class: "bytes" });
  const read = form(say("readBytes"), [], heard, async () => {
    write(heard, say("reading"));
    const facts = await ask("/api/read", { device: own.name });
    write(heard, "");
    bytes.replaceChildren(...exchanges(facts));
  }, failed(heard));

  const minutes = field(say("minutes"), { type: "number", min: 1, max: 480, value: 45, inputMode: "numeric", required: true });
  const why = field(say("why"), { maxLength: 200 });
  const told = h("p", { role: "status" });
  const begin = form(say("startWork"), [...minutes, ...why], told, () =>
    ask("/api/maintenance", { device: own.name, for_s: Number(minutes[1].value) * 60, why: why[1].value }), failed(told));
  const over = h("p", { role: "status" });
  const left = h("p", {});
  const end = form(say("endWork"), [left], over, () => ask("/api/maintenance", { device: own.name, off: true }), failed(over));
  const commands = own.channels.map((channel) => store.channels[channel]).filter((of) => of && of.writable).map(command);
  return {
    box: h("section", {}, h("div", { class: "grid" }, h("div", {}, read), h("div", {}, begin, end), ...commands), bytes),
    tell(now) {
      const windows = store.cabinet.maintenance.windows;
      const window = windows.find((one) => one.device === own.name);
      begin.hidden = Boolean(window);
      end.hidden = !window;
      if (window) write(left, say("workLeft", { x: span(window.left_s), by: window.by }));
    },
  };
}

function command(of) {
  const value = field(`${both(of.label) || of.point} (${of.writable[0]} … ${of.writable[1]} ${unit(of.unit)})`, {
    type: "number", min: of.writable[0], max: of.writable[1], step: "any", required: true, inputMode: "decimal" });
  const minutes = field(say("forMinutes"), { type: "number", min: 1, max: 1440, value: 15, required: true, inputMode: "numeric" });
  const told = h("p", { role: "status" });
  return h("div", {}, form(`${say("command")}: ${both(of.label) || of.point}`, [...value, ...minutes], told, async () => {
    const done = await ask("/api/command", { point: of.name, value: Number(value[1].value), lease_s: Number(minutes[1].value) * 60 });
    write(told, say("commandDone", { x: `${number(done.value)} ${unit(of.unit)}` }));
  }, failed(told)));
}

function* exchanges(facts) {
  for (const one of facts.exchanges) {
    yield h("dl", { class: "hex" }, h("div", {}, h("dt", {}, say("request")), h("dd", {}, one.request || "–")),
      h("div", {}, h("dt", {}, `${say("reply")}${one.ms ? ` · ${one.ms.toFixed(1)} ms` : ""}`), h("dd", {}, one.reply || one.says || "–")));
  }
  const head = ["point", "raw", "decoded", "value", "range", "verdict"].map((word) => h("th", { scope: "col" }, say(word)));
  const rows = facts.points.map((one) => h("tr", {}, h("th", { scope: "row" }, one.point), h("td", { class: "hexes" }, one.raw || "–"), h("td", {}, number(one.decoded)),
    h("td", {}, `${number(one.value)} ${unit(one.unit || "")}`), h("td", {}, one.low === null && one.high === null ? "" : `${number(one.low, 4)} … ${number(one.high, 4)}`), h("td", {}, one.verdict)));
  yield h("div", { class: "wide", tabIndex: 0, role: "region", ariaLabel: say("points") }, h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)));
}
