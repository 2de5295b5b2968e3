// Percentiles of what happened between two readings of a growing histogram.

export function difference(later, earlier) {
  // Before the first request there are no buckets at all.
  const counts = later.counts.map((count, i) => Math.max(0, count - (earlier.counts[i] ?? 0)));
  return { le_ms: later.le_ms, counts };
}

export function quantile({ le_ms, counts }, wanted) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (!total) return null;
  const rank = wanted * total;
  let lower = 0;
  let seen = 0;
  for (const [i, upper] of le_ms.entries()) {
    const count = counts[i];
    if (count && seen + count >= rank) return lower + ((upper - lower) * (rank - seen)) / count;
    lower = upper;
    seen += count;
  }
  return lower;
}
