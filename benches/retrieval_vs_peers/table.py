"""Each model and its peer, `NAME` and `NAME_peer`: NDCG and recall with intervals, and how much of their best 10 is the same."""

import json
import sys


def main():
    with open(sys.argv[1]) as file:
        found = json.load(file)
    models = {model["name"]: model for model in found["retrieval"]["models"]}
    lists = [{l["model"]: {i["item"] for i in l["items"]} for l in e["lists"]} for e in found["examples"]]
    print("| | NDCG@10 | Recall@10 | best 10 in common |\n|---|---|---|---|")
    for name in models:
        if name.endswith("_peer"):
            continue
        for side in (name, f"{name}_peer"):
            values = {m["metric"]: m for m in models[side]["metrics"]}
            cells = ["{:.4f} [{:.4f}, {:.4f}]".format(values[m]["value"], *values[m]["interval"]) for m in ("ndcg", "recall")]
            both = [len(l[name] & l[side]) / max(len(l[name]), len(l[side]), 1) for l in lists]
            shared = f"{sum(both) / len(both):.3f}" if side != name else ""
            print(f"| `{side}` | {cells[0]} | {cells[1]} | {shared} |")


main()
