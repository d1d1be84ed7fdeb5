"""How well a column that was dropped can be predicted from those that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats

from llmsafety_lab.data_bias.columns import binary, column
from llmsafety_lab.statistics import Estimate

if TYPE_CHECKING:
    import pandas as pd


def auc(scores: ArrayLike, groups: ArrayLike | Sequence[int]) -> float:
    """Return how often a row of group 1 has a higher score than a row of group 0; a tie counts one half.

    Parameters
    ----------
    scores : array of float, shape (rows,)
    groups : array of 0 and 1, shape (rows,)

    Raises
    ------
    ValueError
        If a group has no row, or a score is missing.

    References
    ----------
    Hanley and McNeil 1982, The Meaning and Use of the Area under a ROC Curve.
    """
    return float(_wins(scores, groups)[0].mean())


def _wins(
    scores: ArrayLike, groups: ArrayLike | Sequence[int]
) -> tuple[Float[np.ndarray, " ones"], Float[np.ndarray, " zeros"]]:
    """Return for each row of group 1 the share of group 0 that it beats, and for each of group 0 that it loses to."""
    group = binary(groups, "the groups")
    score = column(scores, "the scores", len(group)).astype(float)
    if not 0 < group.sum() < len(group):
        raise ValueError(f"both groups need rows: {int(group.sum())} of {len(group)} are in group 1")
    every = stats.rankdata(score)
    ones, zeros = int(group.sum()), int((~group).sum())
    above = (every[group] - stats.rankdata(score[group])) / zeros
    below = 1 - (every[~group] - stats.rankdata(score[~group])) / ones
    return above, below


def proxy_strength(
    features: pd.DataFrame | ArrayLike,
    groups: ArrayLike | Sequence[int],
    folds: int = 5,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Return how well the features tell who is in the group: AUC by cross-validation, and its interval.

    A logistic regression is fitted on all folds but one and scores the rows of that one; the AUC is the mean over the
    folds. 0.5 says that this model finds nothing, 1 that the column was dropped in name only. A stronger model may
    find more, so the number is a lower bound of what the features give away.

    Parameters
    ----------
    features : pandas.DataFrame or array of shape (rows, columns)
        What was kept. Columns of numbers are scaled; of every other column each value becomes a column of its own, a
        missing value, too.
    groups : array of 0 and 1, shape (rows,)
        The column that was dropped: 1 for the group in question, 0 for the rest.
    folds, seed : int
        Each fold has the groups in the same proportion.
    level : float

    Returns
    -------
    tuple of float
        AUC, lower end, upper end. The interval is over rows drawn anew. Models of two folds share most of their rows,
        so the folds' results depend on each other; the variance is enlarged by Nadeau and Bengio's factor for that,
        and the interval covers the truth more often than it says where the features are strong. Where they are pure
        noise it covers one half somewhat less often than it says.

    Raises
    ------
    ValueError
        If the lengths differ, a group is missing or not 0 or 1, or a group has fewer rows than there are folds.

    References
    ----------
    DeLong, DeLong and Clarke-Pearson 1988, Comparing the Areas under Two or More Correlated Receiver Operating
    Characteristic Curves; Nadeau and Bengio 2003, Inference for the Generalization Error, section 4.
    """
    from sklearn.model_selection import StratifiedKFold

    group = binary(groups, "the groups")
    table = _table(features, len(group))
    if folds < 2 or min(group.sum(), (~group).sum()) < folds or not 0 < level < 1:
        raise ValueError(
            f"each of {folds} folds needs rows of both groups: there are {int(group.sum())} and {int((~group).sum())}"
        )
    areas, variances = [], []
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(table, group):
        model = _model(table).fit(table.iloc[train], group[train])
        above, below = _wins(model.decision_function(table.iloc[test]), group[test])
        areas.append(above.mean())
        variances.append(_spread(above) + _spread(below))
    estimate = float(np.mean(areas))
    error = (float(np.mean(variances)) * (1 / folds + 1 / (folds - 1))) ** 0.5
    half = float(stats.norm.ppf((1 + level) / 2)) * error
    return estimate, max(estimate - half, 0.0), min(estimate + half, 1.0)


def feature_strengths(
    features: pd.DataFrame, groups: ArrayLike | Sequence[int], folds: int = 5, seed: int = 0
) -> dict[str, Estimate]:
    """Return for each column alone how well it tells the group, the strongest first; see `proxy_strength`."""
    table = _table(features, len(column(groups, "the groups")))
    found = {str(name): proxy_strength(table[[name]], groups, folds, seed) for name in table.columns}
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def _spread(shares: Float[np.ndarray, " rows"]) -> float:
    return float(shares.var(ddof=1)) / len(shares) if len(shares) > 1 else 0.25


def _table(features: pd.DataFrame | ArrayLike, rows: int) -> pd.DataFrame:
    import pandas as pd

    table = features if isinstance(features, pd.DataFrame) else pd.DataFrame(np.asarray(features))
    if len(table) != rows or not table.shape[1]:
        raise ValueError(f"features must have columns, and a row for each group: {table.shape} for {rows} rows")
    bad = [str(name) for name in table.select_dtypes("number") if not np.isfinite(table[name].astype(float)).all()]
    if bad:
        raise ValueError(f"numbers must be finite; column {bad[0]} has values that are missing or infinite")
    return table


def _model(table: pd.DataFrame) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = list(table.select_dtypes("number").columns)
    words = [name for name in table.columns if name not in numbers]
    prepare = make_column_transformer(
        (StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), words), sparse_threshold=0
    )
    return make_pipeline(prepare, LogisticRegression(solver="newton-cholesky"))
