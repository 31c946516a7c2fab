// The steps of the job: read, compare with the display, prove physically, push test, sign. The record is the one that
// `citygate commission` writes.
import { h, write, badge } from "./dom.js";
import { say, both, number, unit } from "./words.js";
import { store, on, ask, device } from "./store.js";
import { failed, field, form, qualityState, qualityWord } from "./parts.js";

const STEPS = ["stepRead", "stepDisplay", "stepProve", "stepPush", "stepSign"];
const WATCH_S = 60;
const SHARE = 0.05;

export function list(main) {
  const records = h("ul", { class: "plain" });
  main.append(h("h1", {}, say("commission")), h("p", {}, say("pickDevice")),
    h("ul", { class: "plain picks" }, store.devices.map((one) => h("li", {}, h("a", { class: "block", href: `#/commission/${encodeURIComponent(one.name)}` },
      h("strong", {}, one.name), h("span", { class: "soft" }, both(one.place)))))),
    h("section", {}, h("h2", {}, say("records")), records));
  ask("/api/commission/files").then((found) => records.replaceChildren(...(found.length ? found.map((one) => h("li", {},
    h("a", { class: "block", href: `/api/commission/file/${encodeURIComponent(one.name)}`, target: "_blank", rel: "noopener" },
      badge(one.passed ? "good" : "dead", say(one.passed ? "pass" : "fail")), h("strong", {}, one.device), h("span", { class: "soft" }, `${one.utc} · ${one.by}`))))
    : [h("li", { class: "soft" }, say("noRecords"))]))).catch(() => {});
  return [];
}

export function page(main, name) {
  const own = device(name);
  if (!own) {
    main.append(h("h1", {}, say("commission")), h("p", {}, say("noDevice")));
    return [];
  }
  if (store.me.role !== "operate") {
    main.append(h("h1", {}, say("commission")), h("p", {}, say("mayLook")));
    return [];
  }
  const job = { displays: {}, proof: [], push: null, by: store.me.by };
  const marks = h("ol", { class: "steps" }, STEPS.map((step) => h("li", {}, say(step))));
  const body = h("div", { class: "step" });
  main.append(h("p", { class: "crumb" }, h("a", { href: "#/commission" }, say("commission"))), h("h1", {}, own.name), marks, body);
  let ends = [];
  function go(at) {
    ends.forEach((end) => end());
    [...marks.children].forEach((mark, i) => {
      mark.className = i < at ? "over" : i === at ? "now" : "";
      if (i === at) mark.setAttribute("aria-current", "step");
      else mark.removeAttribute("aria-current");
    });
    body.replaceChildren(h("h2", { tabIndex: -1 }, say(STEPS[at])));
    ends = [reading, display, prove, push, sign][at](body, own, job, (to = at + 1) => go(to)) || [];
    body.firstChild.focus({ preventScroll: true });
  }
  go(0);
  return [() => ends.forEach((end) => end())];
}

const buttons = (...all) => h("p", { class: "row buttons" }, all);
const button = (word, act, main = true) => h("button", { type: "button", class: main ? "main" : "", on: { click: act } }, word);
const big = (passed) => h("p", { class: "big", data: { state: passed ? "good" : "dead" }, role: "status" }, say(passed ? "pass" : "fail"));

function live(own) {
  const rows = own.channels.map((channel) => {
    const of = store.channels[channel];
    const value = h("td", { class: "value" });
    const quality = badge("good", "");
    return { channel, of, value, quality, row: h("tr", {}, h("th", { scope: "row" }, both(of.label) || of.point), value, h("td", {}, quality)) };
  });
  function draw() {
    for (const { channel, of, value, quality } of rows) {
      const latest = store.latest[channel];
      if (!latest) continue;
      write(value, `${number(latest[1])} ${unit(of.unit)}`.trim());
      quality.dataset.state = "";
      quality.lastChild.textContent = "";
      quality.replaceWith(rows.find((one) => one.channel === channel).quality = badge(qualityState(latest[3]), qualityWord(latest[3])));
    }
  }
  draw();
  const table = h("table", {}, h("thead", {}, h("tr", {}, [say("point"), say("value"), say("quality")].map((word) => h("th", { scope: "col" }, word)))), h("tbody", {}, rows.map((one) => one.row)));
  return [h("div", { class: "wide", tabIndex: 0, role: "region", ariaLabel: say("points") }, table), on("rows", draw)];
}

function reading(body, own, job, next) {
  const [table, end] = live(own);
  const told = h("p", { role: "status" });
  const verdict = h("div", {});
  const found = form(say("foundFirst"), [], told, async () => {
    await ask("/api/commission/found", { device: own.name });
    write(told, say("foundDone"));
  }, failed(told));
  const judge = () => {
    const good = own.channels.every((channel) => store.latest[channel] && store.latest[channel][3] < 64);
    if (verdict.dataset.good !== String(good)) {
      verdict.dataset.good = String(good);
      verdict.replaceChildren(big(good));
    }
  };
  judge();
  body.append(table, verdict, found, buttons(button(say("next"), () => next())));
  return [end, on("rows", judge)];
}

function display(body, own, job, next) {
  const verdict = h("div", {});
  const rows = own.channels.map((channel) => store.channels[channel]).filter((of) => !of.derived).map((of) => {
    const [word, input] = field(`${both(of.label) || of.point} (${unit(of.unit)})`, { inputMode: "decimal", value: job.displays[of.point] || "", pattern: "[-+]?[0-9]+([.,][0-9]+)?" });
    const read = h("span", { class: "value" });
    const mark = h("span", { class: "mark" });
    return { of, input, read, mark, row: h("div", { class: "compare" }, word, input, h("span", { class: "soft" }, say("value")), read, mark) };
  });
  function judge() {
    let all = null;
    for (const { of, input, read, mark } of rows) {
      const latest = store.latest[store.channels.indexOf(of)];
      write(read, latest ? `${number(latest[1])} ${unit(of.unit)}` : "–");
      const text = input.value.trim().replace(",", ".");
      if (!text || !input.validity.valid) {
        mark.replaceChildren();
        delete mark.dataset.passed;
        continue;
      }
      const digits = (text.split(".")[1] || "").length;
      const passed = latest && latest[1] !== null && Math.abs(latest[1] - Number(text)) <= Math.max(0.5 * 10 ** -digits, 0.01 * Math.abs(Number(text))) * (1 + 1e-9);
      all = all === null ? passed : all && passed;
      if (mark.dataset.passed !== String(passed)) {
        mark.dataset.passed = String(passed);
        mark.replaceChildren(badge(passed ? "good" : "dead", say(passed ? "pass" : "fail")));
      }
    }
    const now = all === null ? "" : String(Boolean(all));
    if (verdict.dataset.now !== now) {
      verdict.dataset.now = now;
      verdict.replaceChildren(...(now ? [big(now === "true")] : []));
    }
  }
  rows.forEach(({ input }) => input.addEventListener("input", judge));
  judge();
  body.append(h("p", {}, say("shows")), ...rows.map((one) => one.row), verdict, buttons(button(say("back"), () => next(0), false), button(say("next"), () => {
    job.displays = Object.fromEntries(rows.filter(({ input }) => input.value.trim() && input.validity.valid).map(({ of, input }) => [of.point, input.value.trim()]));
    next();
  })));
  return [on("rows", judge)];
}

function prove(body, own, job, next) {
  const places = own.channels.map((channel) => [channel, store.channels[channel]]);
  const id = "prove-what";
  const choice = h("select", { id }, places.flatMap(([channel, of]) => ["moves", "rises", "falls"].map((way) =>
    h("option", { value: `${channel} ${way}` }, say(way, { p: both(of.label) || of.point })))));
  const told = h("div", { class: "proof" });
  const results = h("ul", { class: "plain" }, job.proof.map(shown));
  let stop = () => {};
  function begin() {
    stop();
    const [channel, way] = choice.value.split(" ");
    const of = store.channels[Number(channel)];
    const latest = store.latest[Number(channel)];
    const from = latest && latest[1] !== null ? latest[1] : 0;
    const least = Math.max(SHARE * Math.abs(from), 2 * (of.resolution || 0), of.kind === "gauge" ? 1e-9 : 0.5);
    const what = say(way, { p: both(of.label) || of.point });
    const until = Date.now() + WATCH_S * 1000;
    const clock = h("p", { class: "soft" });
    const value = h("p", { class: "value huge" });
    told.replaceChildren(h("p", {}, say("waitFor", { what })), value, clock);
    const draw = () => {
      const now = store.latest[Number(channel)];
      const x = now && now[1] !== null ? now[1] : null;
      write(value, `${number(x)} ${unit(of.unit)}`.trim());
      const left = Math.ceil((until - Date.now()) / 1000);
      write(clock, say("secondsLeft", { n: Math.max(0, left) }));
      if (x === null) return left <= 0 && finish(false, x);
      const by = x - from;
      if ((way === "moves" && Math.abs(by) >= least) || (way === "rises" && by >= least) || (way === "falls" && -by >= least)) finish(true, x);
      else if (left <= 0) finish(false, x);
    };
    const finish = (passed, x) => {
      stop();
      const one = { what, passed, detail: `${number(from)} → ${number(x)} ${unit(of.unit)}`.trim() };
      job.proof.push(one);
      results.append(shown(one));
      told.replaceChildren(big(passed), h("p", {}, `${one.what}: ${one.detail}`));
    };
    const end = on("rows", draw);
    const tick = setInterval(draw, 1000);
    stop = () => {
      end();
      clearInterval(tick);
      stop = () => {};
    };
    draw();
  }
  body.append(h("label", { htmlFor: id }, say("whatToDo")), choice, buttons(button(say("begin"), begin)), told, results,
    buttons(button(say("back"), () => next(1), false), button(say("next"), () => next())));
  return [() => stop()];
}

const shown = (one) => h("li", {}, badge(one.passed ? "good" : "dead", say(one.passed ? "pass" : "fail")), ` ${one.what}: ${one.detail}`);

function push(body, own, job, next) {
  const told = h("p", { role: "status" });
  const results = h("div", {});
  const alone = !store.cabinet || !store.cabinet.upstreams.length;
  const draw = () => results.replaceChildren(...Object.entries(job.push || {}).map(([name, one]) => {
    const passed = one.state === "acknowledged";
    return h("div", {}, big(passed), h("p", {}, `${name}: ${passed ? say("acknowledgedIn", { x: number(one.seconds, 3) }) : `${say("notAcknowledged")} (${one.state})`}`));
  }));
  body.append(alone ? h("p", { class: "soft" }, say("standsAlone")) : form(say("tryPush"), [], told, async () => {
    job.push = (await ask("/api/push-test", {})).upstreams;
    draw();
  }, failed(told)), results, buttons(button(say("back"), () => next(2), false), button(say("next"), () => next())));
  draw();
  return [];
}

function sign(body, own, job, next) {
  const by = field(say("technician"), { required: true, maxLength: 100, value: job.by || "" });
  const serial = field(say("serial"), { maxLength: 100 });
  const notes = field(say("notes"), { maxLength: 1000 });
  const told = h("p", { role: "status" });
  const result = h("div", {});
  const signing = form(say("sign"), [...by, ...serial, ...notes, h("p", { class: "soft" }, say("signing"))], told, async () => {
    write(told, say("loading"));
    const proofs = job.proof.map((one) => `${one.passed ? "PASS" : "FAIL"} ${one.what}: ${one.detail}`);
    const done = await ask("/api/commission/sign", {
      device: own.name, by: by[1].value, serial: serial[1].value, notes: [notes[1].value, ...proofs].filter(Boolean).join("; "), displays: job.displays });
    write(told, "");
    result.replaceChildren(big(done.passed), h("p", {}, h("a", { class: "button", href: `/api/commission/file/${encodeURIComponent(done.file)}`, target: "_blank", rel: "noopener" }, say("print"))));
  }, failed(told));
  body.append(signing, result, buttons(button(say("back"), () => next(3), false)));
  return [];
}

