// Figures as people read them. What is not known is an en dash, never a zero.

export const UNKNOWN = "–";

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
const digits = [0, 1, 2, 3].map((count) => new Intl.NumberFormat("en", { minimumFractionDigits: count, maximumFractionDigits: count }));

/** A whole number: 2,000,000. */
export const count = (value) => (known(value) ? digits[0].format(value) : UNKNOWN);

/** A number with as many decimals as its size asks for: 0.25, 7.5, 120, 2,700. */
export function rate(value) {
  if (!known(value)) return UNKNOWN;
  const size = Math.abs(value);
  return digits[size === 0 || size >= 99.5 ? 0 : size >= 0.995 ? 1 : 2].format(value);
}

const short = new Intl.NumberFormat("en", { notation: "compact" });

/** A number where there is little room: 2.5, 40K, 3M. */
export const brief = (value) => (known(value) ? short.format(value) : UNKNOWN);

/** A ratio with two decimals: 1.00. */
export const ratio = (value) => (known(value) ? digits[2].format(value) : UNKNOWN);

/** A share of one as a percentage: 33 %. One that is not nothing is not shown as 0. */
export function percent(value) {
  if (!known(value)) return UNKNOWN;
  const hundredths = 100 * value;
  return `${digits[hundredths > 0 && hundredths < 9.95 ? 1 : 0].format(hundredths)} %`;
}

/** Milliseconds: 0.8 ms, 12 ms, 1.5 s. */
export function milliseconds(value) {
  if (!known(value)) return UNKNOWN;
  return value >= 1000 ? `${digits[1].format(value / 1000)} s` : `${digits[value > 0 && value < 9.95 ? 1 : 0].format(value)} ms`;
}

/** Bytes: 512 B, 1.5 KB, 12 MB. A KB is 1,000 bytes, as everywhere in this project. */
export function bytes(value) {
  if (!known(value)) return UNKNOWN;
  let unit = 0;
  for (; value >= 999.5 && unit < 4; unit++) value /= 1000;
  return `${digits[unit > 0 && value < 9.95 ? 1 : 0].format(value)} ${["B", "KB", "MB", "GB", "TB"][unit]}`;
}

/** A count and its noun: 1 viewer, 2 viewers. */
export const many = (value, noun, plural = `${noun}s`) => `${count(value)} ${value === 1 ? noun : plural}`;

const time = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** A time of day: 09:05:07. */
export const clock = (at) => time.format(at);
