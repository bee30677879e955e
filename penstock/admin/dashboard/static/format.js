// How figures and times read.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 });
const cents = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const count = (value) => whole.format(value);
export const rate = (value) => (value < 10 ? one : whole).format(value);
/** A large figure by its first digits: 12.3M. */
export const compact = (value) => short.format(value);
export const timeOfDay = (iso) => clock.format(new Date(iso));
export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

export function percent(share) {
  const value = share * 100;
  if (value > 0 && value < 0.1) return "<0.1 %";
  return `${value === 0 || value >= 99.95 ? whole.format(value) : value.toFixed(1)} %`;
}

/** An amount of money, in whole cents (a price per million tokens has more decimals: `dollars`). */
export const usd = (value) => `$${cents.format(value)}`;
export const dollars = (value) => `$${money.format(value)}`;

export function duration(seconds) {
  const s = Math.max(0, seconds);
  if (s < 1) return "under 1 s";
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129600) return `${one.format(s / 3600)} h`;
  return `${one.format(s / 86400)} days`;
}

export const ago = (seconds) => (seconds < 1 ? "just now" : `${duration(seconds)} ago`);
export const secondsBetween = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;
export const SITES = { on_prem: "on-prem", cloud: "cloud", edge: "edge" };
