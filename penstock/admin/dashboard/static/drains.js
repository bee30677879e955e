// The dialog that drains and undrains. What a drain would do is worked out by the server before anybody decides.

import { post, remove } from "./api.js";
import { byId, h, keyed, setAttribute, setText } from "./dom.js";
import { count, percent } from "./format.js";

const OWNER_KEY = "penstock.owner";
const DRY_RUN_PAUSE_MS = 300;

let current = null; // {cluster, undrain}
let feasible = null; // null: not known yet
let asked = 0; // the latest dry run; answers to earlier ones are ignored
let pause = null;
let afterChange = () => {};

const value = (id) => byId(id).value.trim();

export function setUpDrains(refresh) {
  afterChange = refresh;
  byId("drain-cancel").addEventListener("click", () => byId("drain-dialog").close());
  byId("drain-form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  byId("drain-dialog").addEventListener("close", () => { current = null; clearTimeout(pause); });
  for (const id of ["drain-for", "drain-ramp"]) {
    byId(id).addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(dryRun, DRY_RUN_PAUSE_MS); });
  }
  for (const id of ["drain-reason", "drain-owner", "drain-force", "drain-for", "drain-ramp"]) {
    byId(id).addEventListener("input", showSubmit);
  }
}

function open(cluster, undrain) {
  current = { cluster: cluster.name, undrain };
  feasible = undrain ? true : null;
  setText(byId("drain-title"), `${undrain ? "Undrain" : "Drain"} ${cluster.name}`);
  setText(byId("drain-lead"), undrain
    ? `Drained by ${cluster.drain.owner}: ${cluster.drain.reason}. Its share comes back step by step.`
    : "Its traffic moves to the remaining clusters. Requests and streams under way run to their end.");
  for (const id of ["drain-times", "drain-impact", "drain-remaining"]) byId(id).hidden = undrain;
  byId("drain-force-row").hidden = true;
  byId("drain-force").checked = false;
  byId("drain-error").hidden = true;
  byId("drain-reason").value = "";
  byId("drain-owner").value = remembered();
  setText(byId("drain-submit"), undrain ? "Undrain" : "Drain");
  byId("drain-submit").className = undrain ? "primary" : "danger";
  showSubmit();
  byId("drain-dialog").showModal();
  byId("drain-reason").focus();
  if (!undrain) dryRun();
}

export const openDrain = (cluster) => open(cluster, false);
export const openUndrain = (cluster) => open(cluster, true);

function wish() {
  return {
    cluster: current.cluster, for: value("drain-for"), ramp: value("drain-ramp") || "0s",
    reason: value("drain-reason"), owner: value("drain-owner"), force: byId("drain-force").checked,
  };
}

async function dryRun() {
  if (!current || current.undrain) return;
  const mine = ++asked;
  showImpact("Working out what remains…", "muted", null);
  try {
    const body = { ...wish(), force: false, dryRun: true };
    const answer = await post("/api/v1/drains", { ...body, reason: body.reason || "dry run", owner: body.owner || "dashboard" });
    if (mine !== asked || !current) return;
    const { feasible: can, sentence, rows = [] } = answer.impact;
    showImpact(sentence, can ? "good" : "error", can, rows.flatMap((row) => row.remaining));
  } catch (error) {
    if (mine === asked && current) showImpact(error.message, "error", null);
  }
}

function showImpact(text, tone, can, remaining = []) {
  // A cluster that carries several rows is told once: its figures are of the whole cluster.
  const clusters = [...new Map(remaining.map((each) => [each.cluster, each])).values()];
  keyed(byId("drain-remaining"), clusters, (each) => each.cluster, (each) => {
    const figures = h("span");
    return {
      root: h("li", {}, h("span", {}, each.cluster), figures),
      update: (now) => setText(figures, `${count(now.loadBefore)} → ${count(now.loadAfter)} of ${count(now.capacity)} in flight, ${percent(now.utilisation)}`),
    };
  });
  feasible = can;
  setText(byId("drain-impact"), text);
  setAttribute(byId("drain-impact"), "data-tone", tone);
  byId("drain-force-row").hidden = can !== false;
  if (can !== false) byId("drain-force").checked = false;
  showSubmit();
}

function showSubmit() {
  const told = value("drain-reason") !== "" && value("drain-owner") !== "";
  const allowed = feasible === true || (feasible === false && byId("drain-force").checked);
  byId("drain-submit").disabled = !told || !allowed;
}

async function submit() {
  if (!current || byId("drain-submit").disabled) return;
  byId("drain-submit").disabled = true;
  byId("drain-error").hidden = true;
  remember(value("drain-owner"));
  try {
    if (current.undrain) {
      const query = new URLSearchParams({ owner: value("drain-owner"), reason: value("drain-reason") });
      await remove(`/api/v1/drains/${encodeURIComponent(current.cluster)}?${query}`);
    } else {
      await post("/api/v1/drains", wish());
    }
    byId("drain-dialog").close();
    afterChange();
  } catch (error) {
    setText(byId("drain-error"), error.message);
    byId("drain-error").hidden = false;
    if (error.status === 409) { feasible = false; byId("drain-force-row").hidden = false; }
    showSubmit();
  }
}

// Storage may be refused by the browser's settings; the owner is then asked for each time.
function remembered() {
  try { return localStorage.getItem(OWNER_KEY) ?? ""; } catch { return ""; }
}

function remember(owner) {
  try { localStorage.setItem(OWNER_KEY, owner); } catch { /* as above */ }
}
