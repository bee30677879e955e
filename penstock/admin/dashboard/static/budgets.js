// The budgets: what may be spent in a period, what was, and where it goes as things are.

import { byId, h, keyed, setAttribute, setText } from "./dom.js";
import { duration, percent, secondsBetween, usd } from "./format.js";

const STATES = {
  within: ["✓ Within", "good"],
  paced: ["◑ Paced", "warning"],
  exhausted: ["✕ Exhausted", "error"],
  unknown: ["… Not known yet", "muted"],
};
const AT_THE_END = {
  shift: "at 100 % nothing more goes there by choice",
  reject: "at 100 % what nobody else can serve is refused; restricted traffic is not",
};

export function showBudgets({ items, now }) {
  byId("budgets").hidden = items.length === 0;
  keyed(byId("budget-rows"), items, (item) => item.name, (item) => makeRow(item, now));
  for (const item of items) byId("budget-rows").keyedViews.get(item.name).show(item, now);
}

function makeRow(first) {
  const scope = h("div", { class: "muted small" });
  const state = h("span", { class: "tag" });
  const rule = h("div", { class: "muted small" });
  const spent = h("div", { class: "num" });
  const fill = h("span");
  const elapsed = h("i", { class: "tick", "aria-hidden": "true" });
  const bar = h("div", { class: "bar", role: "meter", "aria-label": `Spent of budget ${first.name}`, "aria-valuemin": "0", "aria-valuemax": "100" }, fill, elapsed);
  const left = h("div", { class: "muted small num" });
  const forecast = h("div", { class: "num" });
  const against = h("div", { class: "muted small" });
  const burn = h("div", { class: "num" });
  const limit = h("div", { class: "muted small num" });
  const root = h("tr", {},
    h("td", {}, h("div", { class: "name" }, first.name), scope),
    h("td", { class: "clip" }, state, rule),
    h("td", {}, spent, bar, left),
    h("td", {}, forecast, against),
    h("td", {}, burn, limit));

  function show(item, now) {
    const [label, tone] = STATES[item.state] ?? STATES.unknown;
    setText(scope, `${item.scopeText}, per ${item.per} (${item.timeZone})`);
    setText(state, label);
    setAttribute(state, "data-tone", tone);
    setText(rule, AT_THE_END[item.onExhausted] ?? "");
    const standing = item.standing;
    if (standing === null) {
      setText(spent, `of ${usd(item.amountUsd)}`);
      for (const cell of [left, forecast, against, burn, limit]) setText(cell, "");
      return;
    }
    const used = standing.usedShare;
    const whole = secondsBetween(standing.periodStart, standing.periodEnd);
    const gone = Math.min(1, Math.max(0, secondsBetween(standing.periodStart, now) / whole));
    setText(spent, `${usd(standing.spentUsd)} of ${usd(item.amountUsd)}`);
    fill.style.width = `${Math.min(100, used * 100)}%`;
    elapsed.style.left = `${gone * 100}%`;
    setAttribute(bar, "data-level", item.state === "exhausted" ? "over" : item.state === "paced" ? "high" : "normal");
    setAttribute(bar, "aria-valuenow", String(Math.min(100, Math.round(used * 100))));
    setAttribute(bar, "aria-valuetext", `${percent(used)} spent with ${percent(gone)} of the ${item.per} gone`);
    setText(left, `${percent(used)} spent, ${percent(gone)} of the ${item.per} gone, ${duration(secondsBetween(now, standing.periodEnd))} left`);
    setText(forecast, usd(standing.forecastUsd));
    setText(against, standing.forecastUsd > item.amountUsd ? `${usd(standing.forecastUsd - item.amountUsd)} too much` : "within the budget");
    setText(burn, `${usd(standing.burnUsdPerHour)} an hour`);
    setText(limit, standing.limitUsdPerHour === null ? "" : `may be ${usd(standing.limitUsdPerHour)} an hour`);
  }
  return { root, update: () => {}, show };
}
