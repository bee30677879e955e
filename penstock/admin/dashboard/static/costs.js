// What traffic cost, hour by hour: at marginal prices or with what is paid by the hour shared out, and what it would have
// cost elsewhere. Asked for once a minute: hours change slowly, and the ledger is written every ten seconds.

import { get } from "./api.js";
import { colourNamed, colourValue, layoutOf, onScreen } from "./charts.js";
import { byId, h, keyed, setAttribute, setText } from "./dom.js";
import { compact, count, dollars, percent, usd } from "./format.js";

const EVERY_MS = 60_000;
const PARTS = [["By cluster", "cluster"], ["By policy", "policy"]];
const WINDOWS = [["24 h", "24h"], ["7 days", "7d"]];
const FIGURES = [["Marginal", "marginalUsd"], ["Amortized", "amortizedUsd"]];
const IDLE = "idle";

let part = "cluster";
let since = "24h";
let figure = "marginalUsd";
let latest = null; // the last answer, with what it was asked for
let asks = 0;

let started = false;

/** To be called once the colours of clusters are known, and as often as one likes after that. */
export function showCosts() {
  if (started) return;
  started = true;
  choice("costs-parts", PARTS, () => part, (chosen) => { part = chosen; ask(); });
  choice("costs-windows", WINDOWS, () => since, (chosen) => { since = chosen; ask(); });
  choice("costs-figures", FIGURES, () => figure, (chosen) => { figure = chosen; drawCosts(); });
  setInterval(() => { if (!document.hidden) ask(); }, EVERY_MS);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  // Off the screen nothing is drawn.
  document.addEventListener("scroll", drawIfMissing, { passive: true });
  ask();
}

function choice(id, options, chosen, choose) {
  const show = () => keyed(byId(id), options, ([label]) => label, ([label, value]) => {
    const root = h("button", { type: "button", onclick: () => { choose(value); show(); } }, label);
    return { root, update: () => setAttribute(root, "aria-pressed", String(chosen() === value)) };
  });
  show();
}

async function ask() {
  const mine = ++asks;
  const asked = { part, since };
  try {
    const answer = await get(`/api/v1/costs?by=${asked.part}&step=hour&since=${asked.since}`);
    if (mine !== asks) return; // something else was asked for meanwhile
    latest = { ...asked, answer };
    byId("costs-error").hidden = true;
    drawCosts();
  } catch (error) {
    if (mine !== asks) return;
    setText(byId("costs-error"), `Costs could not be read: ${error.message}`);
    byId("costs-error").hidden = false;
  }
}

function drawIfMissing() {
  if (latest && !byId("costs-chart").classList.contains("js-plotly-plot")) drawCosts();
}

export function drawCosts() {
  if (!latest) return;
  const { answer } = latest;
  const nothing = answer.items.length === 0 && answer.idle.length === 0;
  byId("costs-empty").hidden = !nothing;
  byId("costs-body").hidden = nothing;
  if (nothing) return;
  showTotals(answer.total);
  const sums = summed(answer.items);
  showRows(sums);
  drawChart(byId("costs-chart"), answer, sums.map(({ name }) => name));
}

function showTotals(total) {
  const tokens = total.tokens.prompt + total.tokens.output;
  const estimated = total.estimated.tokenShare;
  const facts = [
    ["Marginal", amount(total.marginalUsd), "at the prices of the hour"],
    ["Amortized", amount(total.amortizedWithIdleUsd), total.idleUsd > 0 ? `${amount(total.idleUsd)} of it idle` : "paid by the hour, shared out"],
    ["All on-prem", amount(total.whatIf.allOnPrem.usd), kept(total.whatIf.allOnPrem)],
    ["All cloud", amount(total.whatIf.allCloud.usd), kept(total.whatIf.allCloud)],
    ["Tokens", compact(tokens), `${count(total.requests)} requests`],
    ["Measured", estimated === null ? "–" : percent(1 - estimated), "of the tokens; the rest is estimated"],
  ];
  keyed(byId("costs-totals"), facts, ([name]) => name, ([name]) => {
    const value = h("dd", { class: "num" });
    const note = h("div", { class: "muted small" });
    return {
      root: h("div", {}, h("dt", {}, name), value, note),
      update: ([, now, why]) => { setText(value, now); setText(note, why); },
    };
  });
}

const kept = ({ usd: whole, keptUsd }) =>
  (keptUsd > 0 && whole > 0 ? `marginal; ${percent(keptUsd / whole)} could lawfully be nowhere else` : "marginal, had there been room");

/** Thin traffic costs less than a cent. */
const amount = (value) => (value < 1 ? dollars : usd)(value);

const nameOf = (item) => item[latest.part] || (latest.part === "cluster" ? "none answered" : "unknown");

function summed(items) {
  const found = new Map();
  for (const item of items) {
    const name = nameOf(item);
    const sum = found.get(name) ?? { name, tokens: 0, marginalUsd: 0, amortizedUsd: 0, estimated: 0 };
    sum.tokens += item.tokens.prompt + item.tokens.output;
    sum.marginalUsd += item.marginalUsd;
    sum.amortizedUsd += item.amortizedUsd;
    sum.estimated += item.estimated.tokens;
    found.set(name, sum);
  }
  return [...found.values()].sort((a, b) => b[figure] - a[figure] || a.name.localeCompare(b.name));
}

function showRows(sums) {
  keyed(byId("costs-rows"), sums, ({ name }) => name, ({ name }) => {
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    const cells = Array.from({ length: 5 }, () => h("td", { class: "num" }));
    return {
      root: h("tr", {}, h("td", {}, h("div", { class: "name" }, swatch, name)), ...cells),
      update: (sum) => {
        swatch.style.background = `var(${colour(name)})`;
        const aMillion = (value) => (sum.tokens > 0 ? dollars((value / sum.tokens) * 1e6) : "–");
        const shown = [
          compact(sum.tokens), amount(sum.marginalUsd), aMillion(sum.marginalUsd), amount(sum.amortizedUsd),
          sum.tokens > 0 ? percent(1 - sum.estimated / sum.tokens) : "–",
        ];
        shown.forEach((text, index) => setText(cells[index], text));
      },
    };
  });
}

const policyColours = new Map(); // a colour once given stays

function colour(name) {
  if (name === IDLE) return "--line";
  if (latest.part === "cluster") return colourNamed(name);
  if (!policyColours.has(name)) policyColours.set(name, `--series-${policyColours.size % 8}`);
  return policyColours.get(name);
}

function drawChart(element, answer, names) {
  if (!window.Plotly || !onScreen(element)) return;
  const hours = [];
  for (let at = Date.parse(answer.since); at < Date.parse(answer.until); at += 3_600_000) hours.push(at);
  const byName = new Map(names.map((name) => [name, new Map()]));
  const add = (name, hour, value) => {
    const values = byName.get(name);
    values.set(Date.parse(hour), (values.get(Date.parse(hour)) ?? 0) + value);
  };
  for (const item of answer.items) add(nameOf(item), item.hour, item[figure]);
  if (figure === "amortizedUsd" && answer.idle.length) {
    byName.set(IDLE, new Map());
    for (const each of answer.idle) add(IDLE, each.hour, each.usd);
  }
  const x = hours.map((at) => new Date(at + 1_800_000)); // the middle of the hour
  const traces = [...byName].map(([name, values]) => ({
    type: "bar", name, x, y: hours.map((at) => values.get(at) ?? 0),
    marker: { color: colourValue(colour(name)) }, hovertemplate: "$%{y:.4~g}",
  }));
  const layout = layoutOf(220);
  Object.assign(layout, { barmode: "stack", bargap: 0.15 });
  Object.assign(layout.xaxis, { range: [new Date(hours[0]), new Date(hours.at(-1) + 3_600_000)], tickformat: latest.since === "7d" ? "%d %b" : "%H:%M", hoverformat: "%d %b, %H:%M" });
  Object.assign(layout.yaxis, { tickprefix: "$", rangemode: "tozero" });
  setAttribute(element, "aria-label", `${figure === "marginalUsd" ? "Marginal" : "Amortized"} cost by the hour, ${names.join(", ")}`);
  window.Plotly.react(element, traces, layout, { displayModeBar: false, responsive: true });
}
