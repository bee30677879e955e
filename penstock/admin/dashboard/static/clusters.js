// The table of clusters: health, load, price, what more room would be worth, and drain.

import { colourOf, order } from "./charts.js";
import { byId, h, keyed, setAttribute, setText } from "./dom.js";
import { openDrain, openUndrain } from "./drains.js";
import { ago, count, dollars, duration, percent, rate, SITES } from "./format.js";

const HEALTH = {
  UP: ["✓ Up", "good"],
  PROBATION: ["◔ Probation", "warning"],
  RAMP: ["◑ Ramping up", "warning"],
  DOWN: ["✕ Down", "error"],
};

export function showClusters(clusters) {
  const sorted = [...clusters].sort((a, b) => order(a.name) - order(b.name));
  keyed(byId("clusters"), sorted, (cluster) => cluster.name, makeRow);
}

function makeRow(first) {
  let cluster = first;
  const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
  const place = h("div", { class: "muted small" });
  const state = h("span", { class: "tag" });
  const why = h("div", { class: "muted small" });
  const fill = h("span");
  const bar = h("div", { class: "bar", role: "meter", "aria-label": `Load of ${first.name}`, "aria-valuemin": "0", "aria-valuemax": "100" }, fill);
  const load = h("div", { class: "num" });
  const traffic = h("div", { class: "muted small num" });
  const engines = h("div", { class: "muted small num" });
  const price = h("div", { class: "num" });
  const source = h("div", { class: "muted small" });
  const stale = h("span", { class: "tag", "data-tone": "warning" }, "stale");
  const footprint = h("div", { class: "muted small num" });
  const slot = h("div", { class: "num" });
  const worth = h("div", { class: "muted small" });
  const drained = h("div", { class: "small" });
  const button = h("button", { type: "button", onclick: () => (cluster.drain ? openUndrain(cluster) : openDrain(cluster)) });
  const root = h("tr", {},
    h("td", {}, h("div", { class: "name" }, swatch, first.name), place),
    h("td", { class: "clip" }, state, why),
    h("td", {}, load, bar, traffic, engines),
    h("td", {}, price, source, stale, footprint),
    h("td", {}, slot, worth),
    h("td", { class: "clip" }, h("div", { class: "drain-cell" }, drained, button)));

  function update(next) {
    cluster = next;
    swatch.style.background = colourOf(cluster.name);
    setText(place, `${SITES[cluster.site] ?? cluster.site}, ${cluster.region}, ${cluster.engine}${cluster.spot ? ", spot" : ""}`);
    showHealth(cluster.health);
    showLoad(cluster.load);
    setText(engines, engineText(cluster.engineFigures));
    showPrice(cluster.price);
    showWorth(cluster);
    const drain = cluster.drain;
    setText(drained, drain ? drainText(drain) : "");
    setText(button, drain ? "Undrain…" : "Drain…");
    setAttribute(button, "aria-label", `${drain ? "Undrain" : "Drain"} ${cluster.name}`);
  }

  function showHealth(health) {
    const [label, tone] = HEALTH[health.state] ?? ["… Unknown", "muted"];
    setText(state, label);
    setAttribute(state, "data-tone", tone);
    const well = health.endpoints.filter((endpoint) => endpoint.healthy).length;
    const failing = health.endpoints.find((endpoint) => !endpoint.healthy && endpoint.detail);
    const parts = [`${well} of ${health.endpoints.length} endpoints well`];
    if (health.ceiling !== null && health.ceiling < 1 && health.ceiling > 0) parts.push(`at most ${percent(health.ceiling)}`);
    for (const seen of health.regions ?? []) {
      if (seen.state !== health.state) parts.push(`${(HEALTH[seen.state] ?? ["… Unknown"])[0]} from ${seen.region}`);
      else if (seen.checkers === 0) parts.push(`nobody probes it from ${seen.region}`);
    }
    if (health.reason && health.state !== "UP") parts.push(health.reason);
    else if (failing) parts.push(`${failing.endpoint}: ${failing.detail}`);
    setText(why, [...parts, ...probingParts(health.probing)].join(" · "));
  }

  function showLoad(now) {
    const used = now.utilisation;
    setText(load, now.inFlight === null ? "unknown" : `${count(now.inFlight)} of ${count(now.capacity)} in flight`);
    fill.style.width = `${Math.min(100, (used ?? 0) * 100)}%`;
    setAttribute(bar, "data-level", used > 1 ? "over" : used > 0.85 ? "high" : "normal");
    setAttribute(bar, "aria-valuenow", String(Math.min(100, Math.round((used ?? 0) * 100))));
    setAttribute(bar, "aria-valuetext", used === null ? "unknown" : percent(used));
    const parts = [used === null ? "" : `${percent(used)} used`];
    if (now.requestRate !== null) parts.push(`${rate(now.requestRate)} requests/s`);
    if (now.errorRate) parts.push(`${rate(now.errorRate)} errors/s`);
    if (now.planned !== null) parts.push(`${count(now.planned)} planned`);
    setText(traffic, parts.filter(Boolean).join(" · "));
  }

  function showPrice(now) {
    setText(price, now === null ? "unknown" : dollars(now.usdPerMillionTokens));
    const age = now !== null && now.ageSeconds !== null ? `, ${ago(now.ageSeconds)}` : "";
    setText(source, now === null ? "" : `${now.source.replace(/\s*\(stale\)/, "")}${age}`);
    stale.hidden = !now?.stale;
  }

  function showWorth({ load: now, carbon }) {
    const saves = now.slotPriceUsdPerHour;
    setText(slot, saves > 0 ? `saves ${dollars(saves)} an hour` : "saves nothing");
    const trimmed = now.trim !== null && now.trim < 0.995 ? `planned at ${percent(now.trim)} of what is declared: overload has taught so` : "";
    setText(worth, trimmed || now.limitedBy);
    setText(footprint, carbon !== null && carbon.gramsPerMillionTokens > 0 ? `${count(carbon.gramsPerMillionTokens)} g CO₂e` : "");
  }
  return { root, update };
}

function probingParts(probing) {
  const parts = [];
  if (probing.credential) parts.push(`credential alarm: ${probing.credential}`);
  if (probing.limited) parts.push("at its limit (429)");
  if (probing.missingModels.length) parts.push(`does not list ${probing.missingModels.join(", ")}`);
  const spent = probing.generation;
  if (spent) parts.push(`generations ${spent.paused ? "paused" : `every ${duration(spent.everySeconds)}`}, ${count(spent.promptTokens + spent.outputTokens)} tokens so far`);
  return parts;
}

function engineText(now) {
  if (now.source === "edges") return now.readsPage ? "engines silent, judged by Envoy" : "no metrics page, judged by Envoy";
  const parts = [];
  if (now.ready === false) parts.push("not ready");
  if (now.waiting !== null) parts.push(`${count(now.waiting)} waiting`);
  if (now.kvUsed !== null) parts.push(`KV ${percent(now.kvUsed)}`);
  if (now.prefixHitShare !== null) parts.push(`prefix hits ${percent(now.prefixHitShare)}`);
  if (now.ttftSeconds?.p95 != null) parts.push(`TTFT p95 ${rate(now.ttftSeconds.p95)} s`);
  if (now.interTokenSeconds?.p95 != null) parts.push(`${count(now.interTokenSeconds.p95 * 1000)} ms a token`);
  if (now.source === "answers") parts.push("from answers");
  return parts.join(" · ");
}

function drainText(drain) {
  const left = drain.shareLeft > 0 && drain.active ? `, ${percent(drain.shareLeft)} of its share left` : "";
  return `Drained by ${drain.owner}, ${duration(drain.endsInSeconds)} to go${left}: ${drain.reason}`;
}
