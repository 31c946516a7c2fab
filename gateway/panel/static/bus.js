// Each line: time planned against used, errors by kind, who is asked less often.
import { h, write, badge } from "./dom.js";
import { say, number } from "./words.js";
import { store, ask } from "./store.js";

const NORMAL = ["requests", "replies", "echoes", "writes", "probes", "frames", "bytes", "heard", "notifications", "scans", "connections"];
const EVERY_MS = 2000;

export function page(main) {
  const box = h("div", { class: "lines" });
  main.append(h("h1", {}, say("bus")), box);
  let over = false;
  let timer = 0;
  async function look() {
    try {
      const { links } = await ask("/api/bus");
      if (!over) box.replaceChildren(...links.map(line));
    } catch { /* the header says that nobody answers */ }
    if (!over) timer = setTimeout(look, EVERY_MS);
  }
  look();
  return [() => {
    over = true;
    clearTimeout(timer);
  }];
}

function share(word, part) {
  const bar = h("div", { class: "bar", role: "meter", ariaLabel: word, ariaValueMin: "0", ariaValueMax: "100", ariaValueNow: String(Math.round(part * 100)) }, h("i", {}));
  bar.firstChild.style.width = `${Math.min(100, part * 100)}%`;
  if (part > 1) bar.dataset.full = "";
  return h("div", { class: "share" }, h("span", {}, word), bar, h("span", { class: "value" }, `${number(part * 100, 3)} %`));
}

function line(one) {
  const known = store.cabinet && store.cabinet.links.find((link) => link.name === one.name);
  const wrong = Object.entries(one.counters).filter(([kind, count]) => count && !NORMAL.includes(kind)).sort((a, b) => b[1] - a[1]);
  const asked = one.counters.requests || one.counters.frames || one.polls || 1;
  return h("section", { class: "card" },
    h("h2", {}, one.name, " ", badge(known ? known.state : "good", say(one.up ? "up" : "down"))),
    one.fault && h("p", { class: "wrong" }, one.fault),
    share(say("planned"), one.planned), share(say("used"), one.used),
    h("p", { class: "soft" }, `${say("polls")} ${number(one.polls)} · ${say("overruns")} ${number(one.overruns)} · ${say("reconnects")} ${number(one.reconnects)}`),
    h("h3", {}, say("errors")),
    wrong.length ? h("ul", { class: "plain counts" }, wrong.map(([kind, count]) => h("li", {}, h("span", {}, kind.replaceAll("_", " ")), h("span", { class: "value" }, `${number(count)} (${number((100 * count) / asked, 2)} %)`))))
      : h("p", { class: "soft" }, say("noErrors")),
    h("h3", {}, say("devices")),
    h("ul", { class: "plain counts" }, Object.entries(one.devices).map(([name, facts]) => about(name, facts, one.quarantined.includes(name)))));
}

function about(name, facts, rare) {
  const words = [rare && say("quarantined"), facts.answer_ms !== null && facts.answer_ms !== undefined && say("answersIn", { x: number(facts.answer_ms, 3) }),
    facts.timeout_ms && say("timeout", { x: number(facts.timeout_ms, 3) }), facts.misses && say("misses", { n: facts.misses })].filter(Boolean);
  return h("li", { data: { state: rare ? "dead" : "good" } }, h("a", { href: `#/device/${encodeURIComponent(name)}` }, name), h("span", { class: "soft" }, words.join(" · ")));
}
