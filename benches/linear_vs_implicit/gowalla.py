"""The Gowalla table: EASE, SLIM, iALS and item-kNN on the fixed LightGCN split.

Settings are chosen by NDCG@20 on a tenth of each user's train items (seeded), the models then fitted on the whole of
train and asked once for the test. Settings are tried one group after the other (`STAGES`), each with the best of the group
before. EASE takes n³ operations, so its `l2` is chosen on the 10,000 most played items. `--models` picks some.
"""

import argparse

import numpy as np

import common

# Per model, groups of settings that are tried one after the other.
STAGES = {
    "item_knn": [
        [{"similarity": name, "neighbours": 200} for name in ("cosine", "tf_idf", "bm25")],
        [{"neighbours": n} for n in (50, 1000)],
    ],
    "ials": [
        [{"factors": 64, "iterations": 16, "unobserved_weight": a, "l2": l2} for a in (0.003, 0.01, 0.03) for l2 in (0.0003, 0.001, 0.003)],
        [{"factors": 128}, {"factors": 256}],
        [{"l2": l2} for l2 in (0.0006, 0.002, 0.004)],
    ],
    "slim": [[{"l1": l1, "l2": l2} for l1 in (0.5, 1.0) for l2 in (10.0, 30.0)]],
    "ease": [[{"l2": l2, "neighbours": 2000} for l2 in (30.0, 100.0, 200.0, 300.0, 500.0, 1000.0)]],
}
EASE_ITEMS = 10_000


def of_items(matrix, items):
    """The columns of some items."""
    out = matrix[:, items].tocsr()
    out.sort_indices()
    return out


def validation(train, seed=1):
    """A tenth of each user's items, at least one of three or more, and the rest."""
    rng = np.random.default_rng(seed)
    fit, held = [], []
    for user in range(train.shape[0]):
        items = rng.permutation(train.indices[train.indptr[user] : train.indptr[user + 1]])
        n = max(len(items) // 10, int(len(items) >= 3))
        held.append(np.sort(items[:n]))
        fit.append(np.sort(items[n:]))
    return common.matrix(fit, train.shape[1]), common.matrix(held, train.shape[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--models", nargs="*", default=list(STAGES))
    parser.add_argument("--set", nargs="*", default=[], help="NAME=VALUE for every trial; skips the grid")
    parser.add_argument("--quick", action="store_true", help="one trial per model")
    args = parser.parse_args()
    train, test = common.gowalla(args.data)
    fit, held = validation(train)
    paths = [f"{args.work}/fit", f"{args.work}/train"]
    common.write(paths[0], fit)
    common.write(paths[1], train)
    print(f"{train.shape[0]} users, {train.shape[1]} items, {train.nnz} train and {test.nnz} test entries", flush=True)
    rows = []
    most_played = np.sort(np.argsort(-np.asarray(fit.sum(axis=0)).ravel(), kind="stable")[:EASE_ITEMS])
    small = f"{args.work}/small"
    common.write(small, of_items(fit, most_played))
    for kind in args.models:
        settings, best = {}, -1.0
        if args.set:
            fixed = dict(word.split("=") for word in args.set)
            settings = {name: value if value.isalpha() else float(value) if "." in value else int(value) for name, value in fixed.items()}
        path, target = (small, of_items(held, most_played)) if kind == "ease" else (paths[0], held)
        for stage in [] if args.set else STAGES[kind][: 1 if args.quick else None]:
            before = settings
            for change in stage[: 1 if args.quick else None]:
                tried = {**before, **change}
                lists, result = common.ours(args, path, kind, 20, **tried)
                recall, ndcg = common.recall_and_ndcg(lists, target, 20)
                print(f"  {kind} {tried}: validation R@20 {recall:.4f} N@20 {ndcg:.4f}", flush=True)
                if ndcg > best:
                    best, settings = ndcg, tried
        lists, result = common.ours(args, paths[1], kind, 20, **settings)
        recall, ndcg = common.recall_and_ndcg(lists, test, 20)
        cpu = result["fit"][1] if "fit" in result else sum(p[1] for p in result["passes"])
        rows.append(f"| {kind} | {settings} | {recall:.4f} | {ndcg:.4f} | {cpu:.1f} | {result['peak_mb']:.0f} |")
        print(rows[-1], flush=True)
    print("\n| model | settings | R@20 | N@20 | fit CPU s | peak MB |\n|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
