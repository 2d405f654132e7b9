"""Data, the calls of our side, and metrics: what the scripts of this folder share."""

import io
import json
import os
import subprocess

import numpy as np
import scipy.sparse as sp
import zstandard

NOTHING = 2**32 - 1


def read_lists(path):
    """`user item item …` lines: item arrays in the order of the file."""
    with open(path, "rb") as file:
        text = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        return [np.array(line.split()[1:], dtype=np.int64) for line in text if line.strip()]


def matrix(rows, n_items):
    """Rows of items as a binary matrix with sorted rows."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    items = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
    out = sp.csr_matrix((np.ones(len(items), dtype=np.float32), items, offsets), (len(rows), n_items))
    out.sum_duplicates()
    out.data[:] = 1.0
    out.sort_indices()
    return out


def gowalla(data):
    """Train and test matrices of the fixed split."""
    folder = os.path.join(data, "gowalla-lightgcn")
    parts = []
    for name in ("train", "test"):
        users = {}
        with open(os.path.join(folder, f"{name}.txt.zst"), "rb") as file:
            for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8"):
                user, *items = map(int, line.split())
                users[user] = np.array(items, dtype=np.int64)
        parts.append(users)
    n_users = 1 + max(max(part) for part in parts)
    n_items = 1 + max(int(items.max()) for part in parts for items in part.values() if len(items))
    nothing = np.zeros(0, dtype=np.int64)
    return [matrix([part.get(user, nothing) for user in range(n_users)], n_items) for part in parts]


def beauty(data):
    """Protocol P-S3: the last item of each user is the test; users with a target that is new to train or
    in their own history are dropped. Train matrix, test users, targets."""
    rows = [row - 1 for row in read_lists(os.path.join(data, "amazon-2014-s3rec", "Beauty.txt.zst"))]
    train = matrix([row[:-1] for row in rows], 1 + max(int(row.max()) for row in rows))
    known = np.asarray(train.sum(axis=0)).ravel() > 0
    users = [u for u, row in enumerate(rows) if known[row[-1]] and row[-1] not in row[:-1]]
    return train, np.array(users), np.array([rows[u][-1] for u in users])


def write(path, train):
    with open(path, "wb") as file:
        sizes = np.array([train.shape[0], train.shape[1], train.nnz], dtype="<u8")
        file.write(sizes.tobytes() + train.indptr.astype("<u8").tobytes() + train.indices.astype("<u4").tobytes())


def ours(args, path, kind, k, threads=2, **settings):
    """Fits `kind` with our code; lists `[n_users, k]` and the timings."""
    words = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    command = [args.binary, path, str(threads), kind, str(k), *words]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return np.fromfile(f"{path}.{kind}.lists", dtype="<u4").reshape(-1, k).astype(np.int64), result


def overlap(a, b, k=10):
    """Mean share of the best `k` that two sets of lists have in common."""
    return np.mean([len(np.intersect1d(x[:k], y[:k])) / k for x, y in zip(a, b)])


def recall_and_ndcg(lists, test, k):
    """Means over users with test items: hits over test items, and NDCG with the ideal of `min(k, test items)`."""
    gain = 1 / np.log2(np.arange(2, k + 2))
    recalls, ndcgs = [], []
    for user in np.flatnonzero(np.diff(test.indptr)):
        targets = test.indices[test.indptr[user] : test.indptr[user + 1]]
        hit = np.isin(lists[user, :k], targets)
        recalls.append(hit.sum() / len(targets))
        ndcgs.append((hit * gain).sum() / gain[: min(k, len(targets))].sum())
    return np.mean(recalls), np.mean(ndcgs)


def top_k(scores, seen, k):
    """The best `k` of dense scores without what is seen, ties by item."""
    scores = np.where(seen.toarray() > 0, -np.inf, scores)
    best = np.argpartition(-scores, k, axis=1)[:, :k]
    best.sort(axis=1)
    order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
    return np.take_along_axis(best, order, 1)
