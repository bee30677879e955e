// What was decided lately, newest first: what changed and why.

import { byId, h, keyed } from "./dom.js";
import { percent, timeOfDay } from "./format.js";

const HEALTH_WORDS = { UP: "up", PROBATION: "on probation", RAMP: "ramping up", DOWN: "down" };
const WORTH_SHOWING = 0.0005;
const MOST_SHOWN = 25;

export function showDecisions(items) {
  const telling = items.map((item) => ({ ...item, changes: changesOf(item) })).filter((item) => item.changes.length);
  keyed(byId("decisions"), telling.slice(0, MOST_SHOWN), (item) => item.id, (item) => ({ root: makeEntry(item), update: () => {} }));
}

// Decisions in which nothing moved or turned are recorded for the auditor; here they would only hide the others.
function changesOf(item) {
  return [...notes(item), ...(item.health ?? []).map(healthChange), ...mergedRows(item.rows ?? [])];
}

function makeEntry({ at, changes }) {
  return h("li", {}, h("time", { datetime: at, title: at }, timeOfDay(at)), h("div", {}, ...changes));
}

function* notes(item) {
  if (item.readable === false) yield change("Recorded by another version of Penstock", "", "");
  if (item.policyChanged) yield change("New policy in force", "", `digest ${item.policyDigest.slice(0, 12)}`);
  if (item.frozen) yield change("Engine frozen", "", item.frozen);
  for (const cluster of item.drained ?? []) yield change(`${cluster} drained`, "", "");
  for (const cluster of item.undrained ?? []) yield change(`${cluster} back from its drain`, "", "");
}

function healthChange(turn) {
  const from = turn.region ? ` from ${turn.region}` : "";
  return change(`${turn.cluster} is ${HEALTH_WORDS[turn.to] ?? turn.to}${from}, was ${HEALTH_WORDS[turn.from] ?? turn.from}`, "", turn.reason);
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
