// What each group gets when those with a score of at least its threshold get the decision 1, from counts alone.
export const ratesAt = (counts, scores, thresholds) =>
  counts.map((rows, group) => {
    const cells = [[0, 0], [0, 0]];
    rows.forEach((outcomes, place) => {
      const decision = scores[place] >= thresholds[group] ? 1 : 0;
      outcomes.forEach((count, outcome) => (cells[outcome][decision] += count));
    });
    const [[tn, fp], [fn, tp]] = cells;
    const share = (part, whole) => (whole ? part / whole : null);
    return {
      n: tn + fp + fn + tp,
      right: tn + tp,
      selection: share(fp + tp, tn + fp + fn + tp),
      fpr: share(fp, fp + tn),
      fnr: share(fn, fn + tp),
      ppv: share(tp, tp + fp),
      accuracy: share(tn + tp, tn + fp + fn + tp),
    };
  });

// The largest value of a rate minus the smallest; null where a group has none.
export const gapOf = (rates, name) => {
  const values = rates.map((group) => group[name]);
  return values.includes(null) ? null : Math.max(...values) - Math.min(...values);
};
