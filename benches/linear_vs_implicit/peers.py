"""Each model beside a peer at equal settings: do they say the same, and how long do they take?

iALS, item-kNN and lists for everybody: `implicit` on Gowalla's train part. EASE: NumPy on Beauty. SLIM: scikit-learn on
the 300 most played items of Beauty. Peers and ours take turns; the least of the repeats counts. Seconds are wall / CPU (all
threads): on a machine that does something else meanwhile, only CPU seconds can be compared.
"""

import argparse
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as implicit asks for; EASE sets it anew below

import implicit
import numpy as np
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from threadpoolctl import threadpool_limits

import common


def timed(run):
    wall, cpu = time.perf_counter(), time.process_time()
    out = run()
    return out, np.array([time.perf_counter() - wall, time.process_time() - cpu])


def row(name, theirs, ours):
    ratio = theirs / ours
    print(
        f"| {name} | {theirs[0]:.3f} / {theirs[1]:.3f} | {ours[0]:.3f} / {ours[1]:.3f} "
        f"| {ratio[0]:.1f}× / {ratio[1]:.1f}× |",
        flush=True,
    )


def header(title):
    print(f"\n## {title}\n\n| | peer, s | segue, s | ratio |\n|---|---|---|---|", flush=True)


def ials(args, path, train, test, factors):
    """`alpha = c` and `regularization` of implicit in our terms: see `retrieval/ials/mod.rs`."""
    c, regularization, iterations = 10.0, 1.0, args.iterations
    header(f"iALS, d = {factors}, {iterations} iterations of conjugate gradients (3 steps), {args.threads} threads")
    passes, lists, best = [], [], None
    for repeat in range(args.repeats):
        model = AlternatingLeastSquares(
            factors=factors, regularization=regularization, alpha=c, iterations=iterations,
            num_threads=args.threads, random_state=repeat + 1, use_gpu=False,
        )
        marks = []
        mark = lambda *_: marks.append([time.perf_counter(), time.process_time()])
        model.fit(train, show_progress=False, callback=mark)
        passes.append(np.diff(np.array(marks), axis=0).min(axis=0))
        users = np.arange(train.shape[0])
        (ids, _), spent = timed(lambda: model.recommend(users, train, N=100, filter_already_liked_items=True))
        lists.append(spent)
        mine, result = common.ours(
            args, path, "ials", 100, args.threads, factors=factors, iterations=iterations, solver="cg",
            unobserved_weight=1 / (c - 1), l2=regularization / c, frequency_scaling=0.0,
        )
        if best is None:
            best = [np.array(result["passes"]).min(axis=0), np.array(result["lists"]), result]
        best[0] = np.minimum(best[0], np.array(result["passes"]).min(axis=0))
        best[1] = np.minimum(best[1], result["lists"])
    row("one iteration", np.min(passes, axis=0), best[0])
    row("best 100 for all users", np.min(lists, axis=0), best[1])
    folded = best[2]["lists_with_fold_in"]
    print(f"\nWith folding in: {folded[0]:.3f} / {folded[1]:.3f} s; one fold-in {best[2]['fold_in_us']:.0f} µs.")
    for name, found in (("implicit", ids), ("segue", mine)):
        recall, ndcg = common.recall_and_ndcg(found, test, 20)
        print(f"{name}: R@20 {recall:.4f}, N@20 {ndcg:.4f}")
    print(f"overlap of the best 10: {common.overlap(ids, mine):.3f}", flush=True)


def knn(args, path, train, test):
    header(f"item-kNN, 100 neighbours, {args.threads} threads")
    # implicit counts the item itself as a neighbour.
    # Its BM25 has other constants by default than the function of that name in the same module, which is ours.
    peers = (
        ("cosine", CosineRecommender, {}),
        ("tf_idf", TFIDFRecommender, {}),
        ("bm25", BM25Recommender, {"K1": 100, "B": 0.8}),
    )
    for name, peer, options in peers:
        fits, ours_fit = [], []
        for _ in range(args.repeats):
            model = peer(K=101, num_threads=args.threads, **options)
            fits.append(timed(lambda: model.fit(train, show_progress=False))[1])
            mine, result = common.ours(args, path, "item_knn", 20, args.threads, similarity=name, neighbours=100)
            ours_fit.append(result["fit"])
        row(f"{name}, fit", np.min(fits, axis=0), np.min(ours_fit, axis=0))
        (ids, _), spent = timed(
            lambda: model.recommend(np.arange(train.shape[0]), train, N=20, filter_already_liked_items=True)
        )
        row(f"{name}, best 20 for all users", spent, np.array(result["lists"]))
        values = [common.recall_and_ndcg(found, test, 20)[1] for found in (ids, mine)]
        print(f"| N@20 {values[0]:.4f} and {values[1]:.4f}, overlap of the best 10 {common.overlap(ids, mine):.3f} | | | |")


def ease(args, path, train, users, targets):
    header(f"EASE, {train.shape[1]} items (Beauty), {args.threads} threads")
    l2 = 100.0

    def numpy():
        # In place where NumPy can; float32 as ours.
        gram = (train.T @ train).toarray()
        gram[np.diag_indices_from(gram)] += l2
        inverse = np.linalg.inv(gram)
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0)
        return weights

    with threadpool_limits(args.threads):
        weights, theirs = timed(numpy)
    mine, result = common.ours(args, path, "ease", 10, args.threads, l2=l2, neighbours=train.shape[1])
    row("fit", theirs, np.array(result["fit"]))
    lists = np.concatenate(
        [common.top_k(train[at : at + 1000] @ weights, train[at : at + 1000], 10) for at in range(0, train.shape[0], 1000)]
    )
    for name, found in (("NumPy", lists), ("segue", mine)):
        hit = found[users] == targets[:, None]
        ndcg = (hit / np.log2(np.arange(2, 12))).sum(axis=1).mean()
        print(f"{name}: R@10 {hit.any(axis=1).mean():.4f}, N@10 {ndcg:.4f}")
    print(f"overlap of the best 10: {common.overlap(lists, mine):.4f}", flush=True)


def slim(args, train):
    from sklearn.linear_model import ElasticNet

    header("SLIM, the 300 most played items of Beauty, 1 thread")
    popular = np.sort(np.argsort(-np.asarray(train.sum(axis=0)).ravel(), kind="stable")[:300])
    small = train[:, popular].tocsr()
    small.sort_indices()
    path = f"{args.work}/small"
    common.write(path, small)
    n, l1, l2 = small.shape[0], 1.0, 20.0

    def sklearn():
        columns, weights = small.tocsc().astype(np.float64), np.zeros((small.shape[1], small.shape[1]))
        for item in range(small.shape[1]):
            model = ElasticNet(
                alpha=(l1 + l2) / n, l1_ratio=l1 / (l1 + l2), positive=True, fit_intercept=False,
                max_iter=10_000, tol=1e-8,
            )
            others = columns.copy()
            others.data[others.indptr[item] : others.indptr[item + 1]] = 0
            weights[:, item] = model.fit(others, columns[:, [item]].toarray().ravel()).coef_
            weights[item, item] = 0
        return weights

    weights, theirs = timed(sklearn)
    mine, result = common.ours(args, path, "slim", 10, 1, l1=l1, l2=l2, tolerance=1e-6, max_passes=10_000)
    row("fit", theirs, np.array(result["fit"]))
    scores = small @ weights
    # Ours lists only items with evidence; so do the peer's lists here.
    scores[scores == 0] = -np.inf
    lists = common.top_k(scores, small, 10)
    lists[~np.isfinite(np.take_along_axis(scores, lists, 1))] = common.NOTHING
    print(f"overlap of the best 10: {common.overlap(lists[mine[:, 9] < common.NOTHING], mine[mine[:, 9] < common.NOTHING]):.4f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=15)
    parser.add_argument("--only", nargs="*", default=["ials", "knn", "ease", "slim"])
    parser.add_argument("--quick", action="store_true", help="one repeat of 3 iterations, no EASE: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.repeats, args.iterations = 1, 3
        args.only = [name for name in args.only if name != "ease"]
    print(f"{os.cpu_count()} CPUs, implicit {implicit.__version__}, NumPy {np.__version__}; wall / CPU seconds")
    train, test = common.gowalla(args.data)
    path = f"{args.work}/gowalla"
    common.write(path, train)
    if "ials" in args.only:
        for factors in (64, 128):
            ials(args, path, train, test, factors)
    if "knn" in args.only:
        knn(args, path, train, test)
    beauty, users, targets = common.beauty(args.data)
    if "ease" in args.only:
        path = f"{args.work}/beauty"
        common.write(path, beauty)
        ease(args, path, beauty, users, targets)
    if "slim" in args.only:
        slim(args, beauty)


if __name__ == "__main__":
    main()
