// One card per policy: the weights of a row as a stacked chart over time, their figures and their reason.

import { get } from "./api.js";
import { byId, h, keyed, setAttribute, setText } from "./dom.js";
import { dollars, percent, rate } from "./format.js";

const SERIES = 8;
const WINDOWS = [["5 min", 300], ["15 min", 900], ["1 h", 3600]];
export const LONGEST_WINDOW = WINDOWS.at(-1)[1];
const LEAST_WINDOW_MS = 60_000;
const CLASS_TONES = { public: "muted", internal: "info", restricted: "warning" };

let windowSeconds = WINDOWS[0][1];
const colours = new Map(); // cluster -> CSS variable
const history = new Map(); // row id -> [{at, weights}]
const chosenRow = new Map(); // policy -> row id

const rowId = (row) => `${row.policy}\n${row.region}\n${row.model}`;
/** The CSS variable that holds a cluster's colour. */
export const colourNamed = (cluster) => colours.get(cluster) ?? "--series-7";
export const colourOf = (cluster) => `var(${colourNamed(cluster)})`;
/** What a CSS variable holds now. */
export const colourValue = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
const resolved = (cluster) => colourValue(colourNamed(cluster));

/** On-prem clusters take the first colours; a colour once given stays. */
export function assignColours(clusters) {
  const order = [...clusters].sort((a, b) => (a.site !== "on_prem") - (b.site !== "on_prem") || a.name.localeCompare(b.name));
  for (const { name } of order) {
    if (!colours.has(name)) colours.set(name, `--series-${colours.size % SERIES}`);
  }
}

/** Adds points to what is known and forgets what no window shows any more. */
export function addHistory(items, nowMs) {
  for (const item of items) {
    const known = history.get(rowId(item)) ?? [];
    const newest = known.at(-1)?.at ?? -Infinity;
    for (const point of item.points) {
      const at = Date.parse(point.at);
      if (at > newest) known.push({ at, weights: point.weights });
    }
    const cut = known.findLastIndex((point) => point.at < nowMs - LONGEST_WINDOW * 1000);
    history.set(rowId(item), cut > 0 ? known.slice(cut) : known);
  }
}

/** A server that restarted has a new history; its points may be older than what is known. */
export const forgetHistory = () => history.clear();

export function setUpWindows(redraw) {
  keyed(byId("windows"), WINDOWS, ([label]) => label, ([label, seconds]) => {
    const root = h("button", { type: "button", onclick: () => { windowSeconds = seconds; setUpWindows(redraw); redraw(); } }, label);
    return { root, update: () => setAttribute(root, "aria-pressed", String(windowSeconds === seconds)) };
  });
}

export function showPolicies(rows, nowMs) {
  const policies = Map.groupBy(rows, (row) => row.policy);
  byId("policies-empty").hidden = policies.size > 0;
  keyed(byId("policies"), [...policies], ([name]) => name, ([name, first]) => makeCard(name, first[0]));
  for (const [name, own] of policies) byId("policies").keyedViews.get(name).draw(own, nowMs);
}

function makeCard(name, sample) {
  const tabs = h("div", { class: "segmented", role: "group", "aria-label": `Edge region and model of ${name}` });
  const chart = h("div", { class: "chart", role: "img" });
  const legend = h("ul", { class: "legend" });
  const reason = h("p", { class: "reason" });
  const excluded = h("p", { class: "excluded" });
  const demand = h("span", { class: "muted small num" });
  const objective = h("span", { class: "muted small" });
  const gaps = h("p", { class: "gaps" });
  const root = h("article", { class: "panel card" },
    h("div", { class: "card-head" },
      h("h3", {}, name),
      h("span", { class: "tag", "data-tone": CLASS_TONES[sample.dataClass] ?? "muted" }, sample.dataClass),
      objective,
      demand,
      h("button", { type: "button", onclick: () => explain(name), "aria-label": `Why are the weights of ${name} what they are?` }, "Why?")),
    tabs, chart, legend, reason, gaps, excluded);
  let latest = null;
  let shown = null; // the id of the row on the card

  function draw(rows, nowMs) {
    latest = { rows, nowMs };
    const row = rows.find((each) => rowId(each) === chosenRow.get(name)) ?? busiest(rows);
    shown = rowId(row);
    tabs.hidden = rows.length < 2;
    keyed(tabs, rows, rowId, (each) => {
      const id = rowId(each);
      const choose = () => { chosenRow.set(name, id); draw(latest.rows, latest.nowMs); };
      const button = h("button", { type: "button", onclick: choose }, rowLabel(each, rows));
      return { root: button, update: () => setAttribute(button, "aria-pressed", String(shown === id)) };
    });
    setText(demand, row.demand > 0 ? `${rate(row.demand)} requests/s` : "");
    showLegend(legend, row);
    setText(objective, row.objective ? `steers for ${row.objective}` : "");
    setText(reason, row.reason);
    setText(gaps, gapText(row));
    const left = Object.entries(row.excluded).map(([cluster, why]) => `${cluster} (${why})`);
    setText(excluded, left.length ? `Not eligible: ${left.join("; ")}` : "");
    setAttribute(chart, "aria-label", describe(row));
    drawChart(chart, history.get(rowId(row)) ?? [], row, nowMs);
  }
  return { root, update: () => {}, draw };
}

// What a cluster that gets nothing would have to cost less: nearest to being used first. The reason tells of some itself.
function gapText(row) {
  const unused = Object.entries(row.gapsUsdPerMillionTokens ?? {})
    .filter(([cluster, gap]) => gap > 0 && !row.reason.includes(`${cluster} would be used`))
    .sort((a, b) => a[1] - b[1]);
  return unused.map(([cluster, gap]) => `${cluster} would be used if it were ${dollars(gap)} cheaper per million tokens`).join("; ");
}

const busiest = (rows) => rows.reduce((best, row) => (row.demand > best.demand ? row : best));

function rowLabel(row, rows) {
  const model = row.model === "*" ? "no model named" : row.model;
  const sameModel = rows.every((each) => each.model === row.model);
  const sameRegion = rows.every((each) => each.region === row.region);
  return sameModel ? row.region : sameRegion ? model : `${row.region} · ${model}`;
}

function describe(row) {
  const parts = Object.entries(row.weights).map(([cluster, weight]) => `${cluster} ${percent(weight / 10000)}`);
  return `Weights of ${row.policy} in ${row.region} for ${row.model} over time; now ${parts.join(", ") || "none: refused"}`;
}

function showLegend(list, row) {
  const shares = Object.keys(row.weights).sort((a, b) => order(a) - order(b))
    .map((cluster) => ({ cluster, now: row.weights[cluster] / 10000, target: row.target[cluster] }));
  keyed(list, shares, (share) => share.cluster, ({ cluster }) => {
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    const target = h("span", { class: "muted small num" });
    const share = h("span", { class: "share num" });
    return {
      root: h("li", {}, swatch, h("span", {}, cluster), target, share),
      update: ({ now, target: wanted = now }) => {
        swatch.style.background = colourOf(cluster);
        setText(share, percent(now));
        setText(target, Math.abs(wanted - now) > 0.0005 ? `moving to ${percent(wanted)}` : "");
      },
    };
  });
}

/** Where a cluster stands in every list: on-prem ones first. */
export const order = (cluster) => [...colours.keys()].indexOf(cluster);

function drawChart(element, points, row, nowMs) {
  if (!window.Plotly || !onScreen(element)) return;
  // A young history fills the chart rather than its right edge.
  const youngest = Math.min(points[0]?.at ?? nowMs, nowMs - LEAST_WINDOW_MS);
  const from = Math.max(nowMs - windowSeconds * 1000, youngest);
  const start = Math.max(0, points.findLastIndex((point) => point.at <= from));
  const shown = points.slice(start).map((point) => ({ ...point, at: Math.max(point.at, from) }));
  shown.push({ at: nowMs, weights: row.weights });
  const names = new Set(shown.flatMap((point) => Object.keys(point.weights)));
  const clusters = [...names].sort((a, b) => order(a) - order(b));
  const x = shown.map((point) => new Date(point.at));
  const traces = clusters.map((cluster) => ({
    type: "scatter", mode: "lines", stackgroup: "weights", name: cluster, x,
    y: shown.map((point) => (point.weights[cluster] ?? 0) / 100),
    line: { shape: "hv", width: 0.5, color: resolved(cluster) },
    fillcolor: `${resolved(cluster)}cc`,
    hovertemplate: "%{y:.1f} %",
  }));
  const layout = layoutOf(190);
  Object.assign(layout.xaxis, { range: [new Date(from), new Date(nowMs)], tickformat: windowSeconds > 900 ? "%H:%M" : "%H:%M:%S", hoverformat: "%H:%M:%S" });
  Object.assign(layout.yaxis, { range: [0, 100.5], tickvals: [0, 25, 50, 75, 100], ticktext: ["0 %", "25 %", "50 %", "75 %", "100 %"] });
  window.Plotly.react(element, traces, layout, { displayModeBar: false, responsive: true });
}

/** What all charts over time have in common, in the colours of the day or of the night. */
export function layoutOf(height) {
  const line = colourValue("--line");
  return {
    height, margin: { l: 44, r: 6, t: 10, b: 24 }, showlegend: false, hovermode: "x unified", dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 11, color: colourValue("--soft") },
    hoverlabel: { bgcolor: colourValue("--panel"), bordercolor: line, font: { color: colourValue("--ink") } },
    xaxis: { type: "date", fixedrange: true, gridcolor: line, linecolor: line, nticks: 6 },
    yaxis: { fixedrange: true, gridcolor: line, zeroline: false },
  };
}

/** Whether it is on the screen, or nearly: what is not is not drawn. */
export function onScreen(element) {
  const box = element.getBoundingClientRect();
  return box.bottom > -200 && box.top < window.innerHeight + 200;
}

async function explain(policy) {
  setText(byId("explain-title"), `Why: ${policy}`);
  setText(byId("explain-text"), "Asking…");
  byId("explain-dialog").showModal();
  try {
    setText(byId("explain-text"), (await get(`/api/v1/explain/${encodeURIComponent(policy)}`)).text);
  } catch (error) {
    setText(byId("explain-text"), `Could not get the explanation: ${error.message}`);
  }
}

export function setUpExplanation() {
  byId("explain-close").addEventListener("click", () => byId("explain-dialog").close());
}
