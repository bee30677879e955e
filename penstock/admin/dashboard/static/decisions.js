// What was decided lately, newest first: what changed and why.

import { byId, h, keyed } from "./dom.js";
import { percent, timeOfDay } from "./format.js";

const HEALTH_WORDS = { UP: "up", PROBATION: "on probation", RAMP: "ramping up", DOWN: "down" };
const WORTH_SHOWING = 0.0005;

/** Whether a decision is already on the page, so that nothing is fetched for it. */
export const isShown = (id) => byId("decisions").keyedViews?.has(id) ?? false;

export function showDecisions(items) {
  keyed(byId("decisions"), items, (item) => item.id, (item) => ({ root: makeEntry(item), update: () => {} }));
}

function makeEntry(item) {
  const changes = [...notes(item), ...(item.health ?? []).map(healthChange), ...mergedRows(item.rows ?? [])];
  if (!changes.length) changes.push(change("No weight moved", "", ""));
  return h("li", {}, h("time", { datetime: item.at, title: item.at }, timeOfDay(item.at)), h("div", {}, ...changes));
}

function* notes(item) {
  if (item.readable === false) yield change("Recorded by another version of Penstock", "", "");
  if (item.policyChanged) yield change("New policy in force", "", `digest ${item.policyDigest.slice(0, 12)}`);
  if (item.frozen) yield change("Engine frozen", "", item.frozen);
  for (const cluster of item.drained ?? []) yield change(`${cluster} drained`, "", "");
  for (const cluster of item.undrained ?? []) yield change(`${cluster} back from its drain`, "", "");
}

function healthChange(turn) {
  return change(`${turn.cluster} is ${HEALTH_WORDS[turn.to] ?? turn.to}, was ${HEALTH_WORDS[turn.from] ?? turn.from}`, "", turn.reason);
}

// Rows of one policy that moved alike and for the same reason are told once.
function mergedRows(rows) {
  const alike = Map.groupBy(rows, (row) => JSON.stringify([row.policy, moves(row), row.reason]));
  return [...alike.values()].map((group) => {
    const [row] = group;
    const where = [...new Set(group.map((each) => each.region))].join(", ");
    return change(`${row.policy} in ${where}`, moves(row), row.reason);
  });
}

function moves(row) {
  if (row.to === null) return "removed";
  const clusters = [...new Set([...Object.keys(row.from ?? {}), ...Object.keys(row.to)])].sort();
  if (!Object.keys(row.to).length) return "no cluster left: refused with 503";
  const share = (weights, cluster) => (weights?.[cluster] ?? 0) / 10000;
  return clusters
    .filter((cluster) => row.from === null ? share(row.to, cluster) > 0 : Math.abs(share(row.to, cluster) - share(row.from, cluster)) > WORTH_SHOWING)
    .map((cluster) => row.from === null
      ? `${cluster} ${percent(share(row.to, cluster))}`
      : `${cluster} ${percent(share(row.from, cluster))} → ${percent(share(row.to, cluster))}`)
    .join(", ");
}

function change(title, moved, reason) {
  return h("div", { class: "change" },
    h("div", { class: "change-title" }, title),
    moved ? h("div", { class: "moves" }, moved) : null,
    reason ? h("div", { class: "reason small" }, reason) : null);
}
