// Numbers and times as people read them. Units are always said.

const LOCALE = "en-GB";

/** `3:07` from milliseconds; `–` where unknown. */
export function clockTime(ms) {
  if (ms === null || ms === undefined) return "–";
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = String(seconds % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Milliseconds from microseconds, with as many digits as they deserve: `0.31 ms`, `12 ms`. */
export function milliseconds(us) {
  const ms = us / 1000;
  return `${ms >= 10 ? Math.round(ms) : ms >= 1 ? ms.toFixed(1) : ms.toFixed(2)} ms`;
}

/** `1,204`. */
export function count(n) {
  return new Intl.NumberFormat(LOCALE).format(n);
}

/** `1 play`, `1,204 plays`. */
export function counted(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** A share of one as `60 %`, with a digit more where it is small: `2.5 %`. */
export function percent(share) {
  return `${new Intl.NumberFormat(LOCALE, { maximumFractionDigits: share < 0.1 ? 2 : 1 }).format(share * 100)} %`;
}

/** A probability with three digits; very small ones keep their size: `0.412`, `3.1e-12`. */
export function probability(p) {
  if (p === null || p === undefined) return "–";
  if (p === 0) return "0";
  return p < 0.001 ? p.toExponential(1) : p.toFixed(3);
}

/** A feature or score of unknown scale, at most four significant digits; missing is said so. */
export function number(value) {
  if (value === null || value === undefined) return "missing";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return count(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
  return new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: 4 }).format(value);
}

/** `Sat 14 Mar 2026, 18:04`, in UTC where the world clock runs, else in local time. */
export function moment(ms, isUtc) {
  return new Intl.DateTimeFormat(LOCALE, {
    weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hour12: false,
    timeZone: isUtc ? "UTC" : undefined,
  }).format(ms);
}

/** `5 min ago`, `3 days ago`: how long before `now`. */
export function ago(ms, now) {
  const minutes = Math.round((now - ms) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  if (hours < 48) return `${hours} h ago`;
  const days = Math.round(hours / 24);
  if (days < 60) return `${days} days ago`;
  const months = Math.round(days / 30);
  return months < 24 ? `${months} months ago` : `${Math.round(days / 365)} years ago`;
}

/** Stage, source and feature names as words: `co_listen` is `co listen`. */
export function words(name) {
  return name.replaceAll("_", " ");
}
