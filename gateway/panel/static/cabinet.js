// One glance: every line, device and center, the clock, what is kept, the alarms that stand.
import { h, write, badge, change, keyed } from "./dom.js";
import { say, both, number, span, unit } from "./words.js";
import { store, on } from "./store.js";
import { list } from "./alarms.js";

const FEW = 12;

export function page(main) {
  const verdict = h("p", { class: "verdict", data: { state: "good" } }, h("span", { class: "shape", ariaHidden: "true" }), h("span", {}));
  const alarms = h("ul", { class: "plain" });
  const clock = part(say("clock"));
  const spool = part(say("spool"));
  const upstreams = h("ul", { class: "plain lines" });
  const links = h("ul", { class: "plain lines" });
  const alone = h("p", { class: "soft" }, say("noUpstreams"));
  const devices = h("ul", { class: "plain devices" });
  const find = h("input", { type: "search", placeholder: say("find"), ariaLabel: say("find"), on: { input: draw } });
  const finding = h("p", {}, find);
  const standing = h("section", {}, h("h2", {}, say("standing")), alarms);
  main.append(h("h1", { class: "unseen" }, say("cabinet")), verdict, standing,
    h("div", { class: "grid" }, clock.box, spool.box,
      h("section", { class: "card" }, h("h2", {}, say("upstreams")), alone, upstreams),
      h("section", { class: "card" }, h("h2", {}, say("links")), links)),
    h("section", {}, h("h2", {}, say("devices")), finding, devices));

  function draw() {
    const now = store.cabinet;
    if (!now) return;
    const parts = [...now.links, ...now.devices, ...now.upstreams, now.clock, now.spool];
    const count = (state) => parts.filter((one) => one.state === state).length;
    const worst = !store.up || count("dead") ? "dead" : store.standing.size || count("degraded") ? "degraded" : count("maintenance") ? "maintenance" : "good";
    const words = [
      store.standing.size && say("nAlarms", { n: store.standing.size }), count("dead") && say("nDead", { n: count("dead") }),
      count("degraded") && say("nDegraded", { n: count("degraded") }), count("maintenance") && say("nWork", { n: count("maintenance") }),
    ].filter(Boolean);
    change(verdict, worst, words.join(" · ") || say(store.up ? "allWell" : "dead"));
    list(alarms, [...store.standing.values()].sort((a, b) => b.since_ms - a.since_ms));
    standing.hidden = !store.standing.size;
    clock.tell(now.clock.state, now.clock.is_set ? say("clockSet", { x: `${number(now.clock.uncertainty_s, 2)} ${say("seconds")}` }) : say("clockUnset"));
    const kept = [now.spool.records ? say("waiting", { n: now.spool.records }) : say("nothingWaits"),
      now.spool.oldest_s > 5 && say("oldest", { x: span(now.spool.oldest_s) }), now.spool.held && say("heldBack", { n: now.spool.held }), now.spool.fault];
    spool.tell(now.spool.state, kept.filter(Boolean).join(" · "));
    alone.hidden = now.upstreams.length > 0;
    keyed(upstreams, now.upstreams, (one) => one.name, (one) => line(one.name), (row, one) => tell(row, one,
      [both(one.why), one.heard_s !== null && one.heard_s !== undefined && say("heard", { x: span(one.heard_s) }), one.waiting && say("waiting", { n: one.waiting }),
        one.round_trip_ms && say("roundTrip", { x: number(one.round_trip_ms, 3) })]));
    keyed(links, now.links, (one) => one.name, (one) => line(one.name, "#/bus"), (row, one) => tell(row, one, [both(one.why)]));
    const sought = find.value.trim().toLowerCase();
    finding.hidden = now.devices.length <= FEW;
    const shown = now.devices.filter((one) => !sought || `${one.name} ${placeOf(one.name)}`.toLowerCase().includes(sought))
      .map((one, i) => [one, i]).sort((a, b) => order(a[0]) - order(b[0]) || a[1] - b[1]).map(([one]) => one);
    keyed(devices, shown, (one) => one.name, row, (made, one) => {
      change(made.querySelector(".badge"), one.state, say(one.state));
      write(made.querySelector(".why"), one.state === "good" ? "" : both(one.why));
    });
    values();
  }

  function values() {
    for (const [name, made] of devices.kept || []) {
      const channel = mainChannel(name);
      if (channel === undefined) continue;
      const latest = store.latest[channel];
      const of = store.channels[channel];
      const text = latest && latest[1] !== null ? of.words[String(Math.round(latest[1]))] || `${number(latest[1], 5)} ${unit(of.unit)}`.trim() : "–";
      write(made.querySelector(".value"), text);
    }
  }

  draw();
  return [on("cabinet", draw), on("first", draw), on("alarms", draw), on("field", draw), on("rows", values)];
}

const order = (one) => ["dead", "degraded", "maintenance", "good"].indexOf(one.state);
const deviceOf = (name) => store.devices.find((one) => one.name === name);
const placeOf = (name) => (deviceOf(name) ? both(deviceOf(name).place) : "");

// The channel a device is known by: its first with a role that is a gauge, else its first.
function mainChannel(name) {
  const own = deviceOf(name);
  if (!own) return undefined;
  const gauge = own.channels.find((channel) => store.channels[channel] && store.channels[channel].role && store.channels[channel].kind === "gauge");
  return gauge === undefined ? own.channels[0] : gauge;
}

function part(word) {
  const state = badge("good", "");
  const text = h("p", { class: "soft" });
  return {
    box: h("section", { class: "card" }, h("h2", {}, word, " ", state), text),
    tell(now, words) {
      change(state, now, say(now));
      write(text, words);
    },
  };
}

function line(name, href) {
  const word = href ? h("a", { href }, name) : h("span", {}, name);
  return h("li", {}, h("span", { class: "row" }, badge("good", ""), h("strong", {}, word)), h("span", { class: "soft why" }));
}

function tell(row, one, words) {
  change(row.querySelector(".badge"), one.state, say(one.state));
  write(row.querySelector(".why"), words.filter(Boolean).join(" · "));
}

function row(one) {
  return h("li", {}, h("a", { href: `#/device/${encodeURIComponent(one.name)}`, class: "block device" },
    badge(one.state, say(one.state)),
    h("span", { class: "named" }, h("strong", {}, one.name), h("span", { class: "soft place" }, placeOf(one.name))),
    h("span", { class: "value" }), h("span", { class: "soft why" })));
}
