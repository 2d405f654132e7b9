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

    import implicit

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
