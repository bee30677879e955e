// The findings at the top of the page, worst first, and the lost connection above them all.

import { byId, h, keyed, setText } from "./dom.js";

const WORDS = { error: "Error", warning: "Warning", info: "Note" };

export function showFindings(findings, lost) {
  const items = lost ? [{ severity: "error", kind: "connection", message: lost }, ...findings] : findings;
  keyed(byId("banner"), items, (item) => `${item.kind}:${item.kind === "connection" ? "" : subject(item)}`, (item) => {
    const text = h("span");
    const root = h("div", { class: "notice", "data-tone": item.severity }, h("strong", {}, WORDS[item.severity]), text);
    return { root, update: (now) => setText(text, now.message) };
  });
}

// Minutes left and ages change each second; without their figures the same finding keeps its element.
function subject(item) {
  return item.severity + item.message.replace(/[\d.]+/g, "#");
}
