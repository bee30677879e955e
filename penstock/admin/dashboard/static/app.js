// The dashboard: asks the admin API every second, more slowly while it does not answer, and shows what it says.

import { get } from "./api.js";
import { showFindings } from "./banner.js";
import { showBudgets } from "./budgets.js";
import { addHistory, assignColours, forgetHistory, LONGEST_WINDOW, setUpExplanation, setUpWindows, showPolicies } from "./charts.js";
import { showClusters } from "./clusters.js";
import { drawCosts, showCosts } from "./costs.js";
import { showDecisions } from "./decisions.js";
import { byId, h, keyed, setAttribute, setText } from "./dom.js";
import { setUpDrains } from "./drains.js";
import { MOST_SHOWN, showEnvoys } from "./envoys.js";
import { ago, count, duration, rate, timeOfDay } from "./format.js";
import { showQuarantine } from "./quarantine.js";

const EVERY_MS = 1000;
const HIDDEN_EVERY_MS = 15000; // a tab nobody looks at
const SLOWEST_MS = 15000;

let failures = 0;
let timer = null;
let asking = false;
let latest = null; // the last complete answer
let startedAt = null; // of the server process, to notice a restart
let historySince = null;
let decidedKey = null; // what the decisions on the page go up to
let decisionAsks = 0;

async function refresh() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  try {
    latest = await ask();
    failures = 0;
    show(latest);
  } catch (error) {
    failures += 1;
    showLost(error);
  } finally {
    asking = false;
    timer = setTimeout(refresh, pause());
  }
}

function pause() {
  if (failures) return Math.min(SLOWEST_MS, EVERY_MS * 2 ** (failures - 1));
  return document.hidden ? HIDDEN_EVERY_MS : EVERY_MS;
}

async function ask() {
  const status = await get("/api/v1/status");
  const nowSeconds = Date.parse(status.now) / 1000;
  if (startedAt !== status.startedAt) {
    startedAt = status.startedAt;
    historySince = nowSeconds - LONGEST_WINDOW;
    forgetHistory();
  }
  const [clusters, weights, budgets, nodes, history, quarantine] = await Promise.all([
    get("/api/v1/clusters"),
    get("/api/v1/weights"),
    get("/api/v1/budgets"),
    get(`/api/v1/nodes?limit=${MOST_SHOWN}`),
    get(`/api/v1/history?since=${historySince}`),
    status.quarantined ? get("/api/v1/quarantine") : { items: [], now: status.now },
  ]);
  addHistory(history.items, Date.parse(history.now));
  historySince = newestPoint(history) ?? historySince;
  return { status, clusters, weights, budgets, nodes, quarantine, decisions: await newDecisions(status, clusters, weights) };
}

// Decisions are asked for only when something they tell of has changed, and twice more: recording lags a little behind.
async function newDecisions(status, clusters, weights) {
  const key = JSON.stringify([
    status.startedAt, status.policy.digest, status.engine?.frozen,
    weights.items.map((row) => row.changedAt),
    clusters.items.map((cluster) => [cluster.health.state, cluster.drain?.since]),
  ]);
  if (key !== decidedKey) { decidedKey = key; decisionAsks = 3; }
  if (decisionAsks === 0) return null;
  decisionAsks -= 1;
  // The store may be down while everything else works; the list of decisions then stays as it was.
  return get("/api/v1/decisions?limit=60").catch(() => null);
}

function newestPoint(history) {
  const times = history.items.flatMap((item) => item.points.map((point) => Date.parse(point.at)));
  return times.length ? Math.max(...times) / 1000 : null;
}

function show({ status, clusters, weights, budgets, nodes, quarantine, decisions }) {
  assignColours(clusters.items);
  showState(status);
  showFacts(status, weights);
  showFindings(status.findings, null);
  drawWeights();
  showClusters(clusters.items);
  showBudgets(budgets);
  showCosts();
  showQuarantine(quarantine);
  showEnvoys(nodes);
  if (decisions) showDecisions(decisions.items);
}

const drawWeights = () => latest && showPolicies(latest.weights.items, Date.parse(latest.weights.now));

function showState({ ready, findings }) {
  const worst = findings.find((finding) => finding.severity !== "info")?.severity;
  const tone = !ready ? "error" : worst ?? "good";
  setAttribute(byId("state"), "data-tone", tone);
  setText(byId("state-text"), !ready ? "Not ready" : worst === "error" ? "Needs attention" : worst ? "Ready, with warnings" : "All well");
  document.title = tone === "good" ? "Penstock" : `(${findings.filter((finding) => finding.severity !== "info").length}) Penstock`;
}

function showLost(error) {
  const retry = Math.round(pause() / 1000);
  const seen = latest ? `What you see is of ${timeOfDay(latest.status.now)}. ` : "";
  const because = error.status ? `The server answered with an error: ${error.message}. ` : "No answer from the server. ";
  setAttribute(byId("state"), "data-tone", "error");
  setText(byId("state-text"), "Connection lost");
  showFindings(latest?.status.findings ?? [], `${because}${seen}Envoys keep serving on what they have. Asking again in ${retry} s.`);
}

function showFacts(status, weights) {
  const demand = weights.items.reduce((sum, row) => sum + row.demand, 0);
  const { policy, engine } = status;
  const facts = [
    ["Traffic", `${rate(demand)} requests/s`],
    ["Envoys", count(status.envoys.connected)],
    ["Policy", policy.documents ? `${count(policy.documents.policies)} in force, ${policy.digest.slice(0, 8)}` : "none"],
    ["Last change", engine ? ago(engine.ageSeconds) : "none yet"],
    ["Solver", engine ? (engine.frozen ? "frozen" : engine.rung) : "–"],
    ["Up", duration(status.uptimeSeconds)],
    ["Version", status.version],
  ];
  keyed(byId("facts"), facts, ([name]) => name, ([name]) => {
    const text = h("dd");
    return { root: h("div", {}, h("dt", {}, name), text), update: ([, now]) => setText(text, now) };
  });
}

setUpWindows(drawWeights);
setUpExplanation();
setUpDrains(refresh);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawWeights(); drawCosts(); });
refresh();
