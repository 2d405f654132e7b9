"""Top-10 lists of the peers, for `segue evaluate --recommendations`. Settings as in settings.toml.

Train: every play but each listener's last. Lists leave out what the listener played.
"""
import csv
import io
import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp

K = 10


def read(path):
    raw = Path(path).read_bytes()
    if path.endswith(".zst"):
        import zstandard

        raw = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
    lines = [line.split() for line in raw.decode().splitlines() if line.strip()]
    return [line[0] for line in lines], [line[1:] for line in lines]


def rp3_beta(train, alpha=0.8, beta=0.6, neighbours=200):
    """W = (P_iu^alpha P_uj^alpha) / n_j^beta, the strongest of each row; straight from the formula."""
    per_user = np.asarray(train.sum(1)).ravel()
    to_item = sp.diags(1 / np.maximum(per_user, 1)) @ train
    degree = np.asarray(train.sum(0)).ravel()
    to_user = (train @ sp.diags(1 / np.maximum(degree, 1))).T.tocsr()
    to_item, to_user = to_item.tocsr().power(alpha), to_user.power(alpha)
    walk = (to_user @ to_item @ sp.diags(1 / np.maximum(degree, 1) ** beta)).tolil()
    walk.setdiag(0)
    walk = walk.tocsr()
    walk.eliminate_zeros()
    for row in range(walk.shape[0]):
        part = slice(walk.indptr[row], walk.indptr[row + 1])
        values = walk.data[part]
        if len(values) > neighbours:
            order = np.lexsort((walk.indices[part], -values))
            values[order[neighbours:]] = 0
    walk.eliminate_zeros()
    return walk


def slim(train, l1=1.0, l2=20.0):
    """Each item from all others: scikit-learn's elastic net with weights of 0 or more."""
    from sklearn.linear_model import ElasticNet

    n, columns = train.shape[0], train.tocsc().astype(np.float64)
    played = np.flatnonzero(np.diff(columns.indptr))
    rows, cols, values = [], [], []
    for item in played:
        model = ElasticNet(
            alpha=(l1 + l2) / n, l1_ratio=l1 / (l1 + l2), positive=True, fit_intercept=False, max_iter=1000, tol=1e-6
        )
        # Only items that share more than l1 listeners with it can have a weight.
        target = columns[:, [item]]
        near = np.flatnonzero((columns.T @ target).toarray().ravel() > l1)
        near = near[near != item]
        if len(near):
            weights = model.fit(columns[:, near], target.toarray().ravel()).coef_
            rows.append(near[weights > 0])
            cols.append(np.full(len(rows[-1]), item))
            values.append(weights[weights > 0])
    return sp.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), (train.shape[1],) * 2)


def warp(train, factors=64, epochs=30, rate=0.05, regularization=0.01, max_draws=20, seed=0):
    """WSABIE's steps one after the other, straight from the top of `bpr.rs`; scores of all listeners."""
    rng = np.random.default_rng(seed)
    n_users, n_items = train.shape
    played = np.flatnonzero(np.asarray(train.sum(0)).ravel())
    p, q = (rng.normal(0, 0.1 / np.sqrt(factors), (n, factors)) for n in (n_users, n_items))
    b = np.zeros(n_items)
    pairs = np.stack(train.nonzero(), 1)
    seen = [set(train[u].indices) for u in range(n_users)]
    most = len(played) - 1
    for _ in range(epochs):
        for u, i in pairs[rng.permutation(len(pairs))]:
            score = p[u] @ q[i] + b[i]
            for n, j in enumerate(played[rng.integers(len(played), size=max_draws)], 1):
                if j in seen[u] or score - (p[u] @ q[j] + b[j]) >= 1:
                    continue
                slope = np.log(max(1, most // n)) / np.log(most)
                user = p[u].copy()
                p[u] += rate * (slope * (q[i] - q[j]) - regularization * user)
                q[i] += rate * (slope * user - regularization * q[i])
                q[j] -= rate * (slope * user + regularization * q[j])
                b[i] += rate * (slope - regularization * b[i])
                b[j] -= rate * (slope + regularization * b[j])
                break
    scores = np.full((n_users, n_items), -np.inf)
    scores[:, played] = p @ q[played].T + b[played]
    return scores


def best(scores, seen):
    scores = scores.copy()
    scores[seen] = -np.inf
    order = np.lexsort((np.arange(len(scores)), -scores))[:K]
    return [i for i in order if np.isfinite(scores[i]) and scores[i] != 0]


def write(path, users, items, lists):
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["user_id", "item_id", "rank"])
        for user, found in zip(users, lists):
            for rank, item in enumerate(found, 1):
                out.writerow([user, items[item], rank])


def main():
    path, work = sys.argv[1], Path(sys.argv[2])
    users, plays = read(path)
    items = sorted({i for user in plays for i in user})
    row_of = {item: row for row, item in enumerate(items)}
    rows = [[row_of[i] for i in user[:-1]] for user in plays]
    train = sp.csr_matrix(
        (np.ones(sum(map(len, rows))), (np.repeat(range(len(rows)), list(map(len, rows))), sum(rows, []))),
        shape=(len(users), len(items)),
    )
    train.data[:] = 1
    train.sum_duplicates()
    train.data[:] = 1

    began = time.process_time()
    walk = rp3_beta(train)
    print(f"rp3_beta numpy: fit {time.process_time() - began:.2f} CPU s", file=sys.stderr)
    scores = (train @ walk).toarray()
    write(work / "rp3_beta.csv", users, items, [best(scores[u], train[u].indices) for u in range(len(users))])

    began = time.process_time()
    weights = slim(train)
    print(f"slim scikit-learn: fit {time.process_time() - began:.2f} CPU s", file=sys.stderr)
    scores = (train @ weights).toarray()
    write(work / "slim.csv", users, items, [best(scores[u], train[u].indices) for u in range(len(users))])

    began = time.process_time()
    scores = warp(train)
    print(f"warp numpy: fit {time.process_time() - began:.2f} CPU s", file=sys.stderr)
    write(work / "warp.csv", users, items, [best(scores[u], train[u].indices) for u in range(len(users))])

    import implicit

    began = time.process_time()
    als = implicit.als.AlternatingLeastSquares(
        factors=64, regularization=1.0, alpha=10.0, iterations=16, use_gpu=False, random_state=0, num_threads=1
    )
    als.fit(train.astype(np.float32), show_progress=False)
    print(f"ials implicit: fit {time.process_time() - began:.2f} CPU s", file=sys.stderr)
    found, _ = als.recommend(np.arange(len(users)), train, N=K, filter_already_liked_items=True)
    write(work / "ials.csv", users, items, found)

    began = time.process_time()
    knn = implicit.nearest_neighbours.CosineRecommender(K=101)
    knn.fit(train, show_progress=False)
    print(f"item_knn implicit: fit {time.process_time() - began:.2f} CPU s", file=sys.stderr)
    scores = (train @ knn.similarity).toarray()
    write(work / "item_knn.csv", users, items, [best(scores[u], train[u].indices) for u in range(len(users))])

    began = time.process_time()
    bpr = implicit.bpr.BayesianPersonalizedRanking(
        factors=64, learning_rate=0.05, regularization=0.01, iterations=100, random_state=0, num_threads=1
    )
    bpr.fit(train.astype(np.float32), show_progress=False)
    print(f"bpr implicit: fit {time.process_time() - began:.2f} CPU s", file=sys.stderr)
    found, _ = bpr.recommend(np.arange(len(users)), train, N=K, filter_already_liked_items=True)
    write(work / "bpr.csv", users, items, found)


main()
