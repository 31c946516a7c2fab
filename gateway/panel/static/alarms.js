// Alarms as lists and as a page: the sentence, the readings around its onset, its neighbours then, acknowledgement.
import { h, write, badge, keyed } from "./dom.js";
import { say, both, clockTime, number, unit } from "./words.js";
import { store, on, ask, curves, device, Ring } from "./store.js";
import { curve } from "./curve.js";
import { failed, form } from "./parts.js";

const AROUND_MS = 300000;

export const link = (key) => `#/alarm/${encodeURIComponent(key)}`;
const severity = (event) => h("span", { class: "severity", data: { severity: event.severity } }, say(event.severity));

export function list(box, events, { ended = false } = {}) {
  keyed(box, events, (event) => `${event.key} ${event.phase} ${event.at_ms}`, (event) =>
    h("li", { class: "alarm", data: { severity: event.severity } },
      h("a", { href: link(event.key), class: "block" },
        h("span", { class: "row" }, severity(event), h("span", { class: "when" }), h("span", { class: "seen" })),
        h("strong", { class: "sentence" }, both(event)),
        h("span", { class: "soft" }, `${event.subject} · ${say(event.cause)}`))),
  (row, event) => {
    const when = event.phase === "clear" ? `${clockTime(event.at_ms, true)} ${say("ended")}` : `${clockTime(event.since_ms, true)} ${say("since")}`;
    write(row.querySelector(".when"), when);
    const seen = store.acknowledged[event.key];
    write(row.querySelector(".seen"), !ended && seen ? say("acknowledgedBy", { by: seen.by }) : "");
  });
}

export function page(main) {
  const standing = h("ul", { class: "plain" });
  const past = h("ul", { class: "plain" });
  const nothing = h("p", { class: "soft" }, say("noAlarms"));
  const never = h("p", { class: "soft" }, say("noPast"));
  main.append(h("h1", {}, say("alarms")), h("section", {}, h("h2", {}, say("standing")), nothing, standing),
    h("section", {}, h("h2", {}, say("past")), never, past));
  function draw() {
    const now = [...store.standing.values()].sort((a, b) => b.since_ms - a.since_ms);
    list(standing, now);
    nothing.hidden = now.length > 0;
    const before = store.past.filter((event) => event.phase !== "update").slice(-50).reverse();
    list(past, before, { ended: true });
    never.hidden = before.length > 0;
  }
  draw();
  return [on("alarms", draw), on("first", draw)];
}

// The readings of an event, and of every update of it, as one ring a channel.
function evidence(key) {
  const rings = new Map();
  for (const event of [...store.past, ...(store.standing.has(key) ? [store.standing.get(key)] : [])]) {
    if (event.key !== key) continue;
    for (const [channel, samples] of event.evidence) {
      if (!rings.has(channel)) rings.set(channel, new Map());
      for (const [t, v] of samples) rings.get(channel).set(t, v);
    }
  }
  return new Map([...rings].map(([channel, samples]) => {
    const ring = new Ring();
    [...samples].sort((a, b) => a[0] - b[0]).forEach(([t, v]) => ring.add(t, v, null));
    return [channel, ring];
  }));
}

export function one(main, key) {
  const found = store.standing.get(key) || [...store.past].reverse().find((event) => event.key === key && event.phase !== "update");
  if (!found) {
    main.append(h("h1", {}, say("alarms")), h("p", {}, say("noAlarm")), h("p", {}, h("a", { href: "#/alarms" }, say("alarms"))));
    return [];
  }
  const open = [];
  const status = h("p", { class: "row" });
  const seen = h("p", { class: "soft" });
  const own = device(found.subject) || device(found.subject.split(".")[0]);
  const facts = h("dl", { class: "facts" });
  const fact = (word, text) => text && facts.append(h("div", {}, h("dt", {}, word), h("dd", {}, text)));
  fact(say("since"), clockTime(found.since_ms, true));
  fact(say("device"), own ? h("a", { href: `#/device/${encodeURIComponent(own.name)}` }, own.name) : found.subject);
  fact(say("place"), both(found.place));
  fact(say("asset"), found.asset);
  fact(say("code"), found.code);
  const drawn = h("div", { class: "curves" });
  const around = h("div", { class: "curves" });
  const form_ = acknowledgement(key);
  main.append(
    h("p", { class: "crumb" }, h("a", { href: "#/alarms" }, say("alarms"))),
    h("h1", { class: "sentence" }, both(found)), status, facts, seen, form_,
    h("section", {}, h("h2", {}, say("evidence")), drawn), h("section", {}, h("h2", {}, say("neighbours")), around));

  function draw() {
    const stands = store.standing.has(key);
    const ended = [...store.past].reverse().find((event) => event.key === key && event.phase === "clear");
    status.replaceChildren(severity(found), h("span", {}, say(found.cause)),
      stands ? badge("dead", say("standing")) : badge("good", ended ? `${say("ended")} ${clockTime(ended.at_ms, true)}` : say("ended")));
    const by = store.acknowledged[key];
    write(seen, by ? `${say("acknowledgedBy", by)} ${clockTime(by.at_ms, true)}${by.note ? ` · ${by.note}` : ""}` : "");
    form_.hidden = !stands || store.me.role !== "operate";
  }

  const marks = () => store.past.filter((event) => event.key === key && event.phase !== "update")
    .map((event) => [event.phase === "clear" ? event.at_ms : event.since_ms, event.phase]).concat([[found.since_ms, "onset"]]);
  const rings = evidence(key);
  const times = [...rings.values()].flatMap((ring) => (ring.n ? [ring.t[0], ring.t[ring.n - 1]] : []));
  const span = times.length ? [Math.min(...times, found.since_ms) - 1000, Math.max(...times, found.since_ms) + 1000] : [found.since_ms - AROUND_MS, found.since_ms + AROUND_MS];

  function add(box, channel, ring, where) {
    const of = store.channels[channel];
    const canvas = h("div", { class: "canvas" });
    const last = ring.n ? `${number(ring.v[ring.n - 1])} ${unit(of.unit)}` : "";
    box.append(h("figure", {}, h("figcaption", {}, h("strong", {}, `${of.device} · ${both(of.label) || of.point}`), h("span", { class: "soft" }, ` ${last}`)), canvas));
    const made = curve(canvas, of, ring, { marks, span: where });
    made.draw();
    open.push(made.close);
  }
  for (const [channel, ring] of rings) if (store.channels[channel]) add(drawn, channel, ring, span);
  if (!drawn.childElementCount) drawn.append(h("p", { class: "soft" }, say("noEvidence")));
  beside(found, own, rings).then((near) => {
    for (const [channel, ring] of near) add(around, channel, ring, [span[0] - AROUND_MS, span[1] + AROUND_MS]);
    if (!near.length) around.append(h("p", { class: "soft" }, say("noNeighbours")));
  });
  draw();
  return [on("alarms", draw), on("first", draw), ...open, () => open.forEach((close) => close())];
}

// Channels that mean the same beside those of the event: of the same group, else of the same family; six at most.
async function beside(event, own, rings) {
  const roles = new Set([...rings.keys()].map((channel) => store.channels[channel]).filter(Boolean).map((of) => of.role || of.point));
  const others = store.devices.filter((one) => one !== own && (!own || (own.group ? one.group === own.group : one.family === own.family)));
  const near = [];
  for (const one of others) {
    const wanted = one.channels.filter((channel) => roles.has(store.channels[channel].role || store.channels[channel].point));
    if (!wanted.length) continue;
    try {
      const kept = await curves(one.name);
      kept.close();
      for (const channel of wanted) near.push([channel, kept.rings.get(channel)]);
    } catch { /* it is gone: the next one */ }
    if (near.length >= 6) break;
  }
  return near.slice(0, 6);
}

function acknowledgement(key) {
  const note = h("input", { name: "note", maxLength: 300, id: "note" });
  const told = h("p", { role: "status" });
  return form(say("acknowledge"), [h("label", { htmlFor: "note" }, say("note")), note], told, async () => {
    await ask("/api/acknowledge", { key, note: note.value });
    note.value = "";
    write(told, say("acknowledged"));
  }, failed(told));
}
