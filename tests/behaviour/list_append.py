"""Is a history of list-appends serializable?

After Elle (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2020,
https://arxiv.org/abs/2003.10554). Every transaction reads lists and appends values of its own to lists. Since no value
is appended twice and a list keeps the order of its appends, the final lists give the order of all versions, and every
read tells which version it saw. From these follow the dependencies:

    ww   T2 appended right behind T1's append
    wr   T2 read a list that ended with T1's append
    rw   T2 appended right behind the end of the list that T1 read
    so   T2 came after T1 in the same process (a replica never goes back)

A cycle means that no serial order explains the history. Found as well, without the graph: reads of values that nobody
committed, reads of part of a transaction, lists that are no prefix of the final ones, commits that are gone, values
that are there twice, and transactions that do not see their own appends.
"""

from dataclasses import dataclass, field


@dataclass
class Transaction:
    """operations: ("append", key, value) or ("read", key, [values...]), in their order. outcome: "ok" (COMMIT said
    so), "failed" (certainly not committed), "unknown"."""

    process: str
    operations: list
    outcome: str = "ok"
    number: int = field(default=-1)

    def appends(self, key=None):
        return [(k, v) for kind, k, v in self.operations if kind == "append" and key in (None, k)]

    def reads(self):
        return [(k, tuple(v)) for kind, k, v in self.operations if kind == "read"]


def anomalies(history, final):
    """Sentences, each one anomaly; an empty list if the history is serializable. `final` maps a key to its list."""
    for number, transaction in enumerate(history):
        transaction.number = number
    final = {key: list(values) for key, values in final.items()}
    writers, found = _writers(history)
    found += _wrong_final_lists(history, final, writers)
    for transaction in history:
        if transaction.outcome == "ok":
            found += _wrong_reads(transaction, final, writers)
    if found:
        return found  # Version orders that are wrong would only make up cycles.
    return _cycles(history, _edges(history, final, writers))


def _writers(history):
    writers, found = {}, []
    for transaction in history:
        for key, value in transaction.appends():
            if (key, value) in writers:
                found.append(f"the test itself appended {value} to list {key} twice")
            writers[key, value] = transaction
    return writers, found


def _wrong_final_lists(history, final, writers):
    found = []
    for key, values in final.items():
        if len(set(values)) != len(values):
            found.append(f"list {key} has a value twice: {values}")
        for value in values:
            writer = writers.get((key, value))
            if writer is None:
                found.append(f"list {key} has {value}, which nobody appended")
            elif writer.outcome == "failed":
                found.append(
                    f"list {key} has {value} of T{writer.number}, which was told that it failed"
                )
    for transaction in history:
        appended = transaction.appends()
        present = [value in final.get(key, []) for key, value in appended]
        if transaction.outcome == "ok" and not all(present):
            found.append(
                f"lost: T{transaction.number} committed {appended}, the lists have only {present} of it"
            )
        elif any(present) and not all(present):
            found.append(f"torn: of T{transaction.number}'s {appended} the lists have {present}")
    return found


def _wrong_reads(transaction, final, writers):
    found = []
    own = {}  # What it has itself appended to each list so far.
    seen = {}  # The list as it read it before, without its own appends.
    name = f"T{transaction.number}"
    for kind, key, value in transaction.operations:
        if kind == "append":
            own.setdefault(key, []).append(value)
            continue
        mine = own.get(key, [])
        values = list(value)
        if mine and values[len(values) - len(mine) :] != mine:
            found.append(f"{name} does not see its own {mine} in list {key}: {values}")
            continue
        before = values[: len(values) - len(mine)]
        if key in seen and seen[key] != before:
            found.append(
                f"{name} read list {key} twice and differently: {seen[key]}, then {before}"
            )
        seen[key] = before
        if (
            before != final.get(key, [])[: len(before)]
        ):  # A beginning of the final list was checked with that.
            found.append(
                f"{name} read list {key} as {before}, no beginning of {final.get(key, [])}"
            )
            for item in before:
                writer = writers.get((key, item))
                if writer is None or writer.outcome == "failed":
                    found.append(f"{name} read {item} in list {key}, which nobody committed (G1a)")
        elif before and (key, before[-1]) in writers:
            writer = writers[key, before[-1]]
            last = writer.appends(key)[-1][1]
            if last != before[-1]:
                found.append(
                    f"{name} read list {key} up to {before[-1]}, in the middle of T{writer.number} (G1b)"
                )
    return found


def _edges(history, final, writers):
    """{number: {number: kind}}; of two kinds between the same two the more telling one, ww before wr before rw."""
    edges = {transaction.number: {} for transaction in history if transaction.outcome != "failed"}
    strength = {"ww": 0, "wr": 1, "so": 2, "rw": 3}

    def add(source, target, kind):
        if source is not target and source.number in edges and target.number in edges:
            known = edges[source.number].get(target.number)
            if known is None or strength[kind] < strength[known]:
                edges[source.number][target.number] = kind

    for key, values in final.items():
        for earlier, later in zip(values, values[1:]):
            add(writers[key, earlier], writers[key, later], "ww")
    for transaction in history:
        if transaction.outcome != "ok":
            continue
        own = {}
        for kind, key, value in transaction.operations:
            if kind == "append":
                own[key] = own.get(key, 0) + 1
                continue
            length = len(value) - own.get(key, 0)
            order = final.get(key, [])
            if length > 0:
                add(writers[key, order[length - 1]], transaction, "wr")
            if length < len(order):
                add(transaction, writers[key, order[length]], "rw")
    last_of_process = {}
    for transaction in history:
        if transaction.outcome == "ok":
            if transaction.process in last_of_process:
                add(last_of_process[transaction.process], transaction, "so")
            last_of_process[transaction.process] = transaction
    return edges


def _cycles(history, edges):
    found = []
    for component in _strong_components(edges):
        cycle = _shortest_cycle(component, edges)
        kinds = [edges[a][b] for a, b in zip(cycle, cycle[1:] + cycle[:1])]
        steps = " ".join(f"T{number} -{kind}->" for number, kind in zip(cycle, kinds))
        shown = "; ".join(
            f"T{number} by {history[number].process}: {history[number].operations}"
            for number in cycle
        )
        found.append(f"{_class_of(kinds)}: {steps} T{cycle[0]}. {shown}")
    return found


def _class_of(kinds):
    anti = kinds.count("rw")
    if anti == 0:
        return "G0 (write cycle)" if set(kinds) == {"ww"} else "G1c (circular information flow)"
    return (
        "G-single (read skew, lost update)"
        if anti == 1
        else "G2 (anti-dependency cycle, write skew)"
    )


def _strong_components(edges):
    """Tarjan's, without recursion; only components that hold a cycle."""
    index, low, stack, on_stack, components = {}, {}, [], set(), []
    for root in edges:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        work = [(root, iter(edges[root]))]
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(edges[target])))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = set()
                    while node not in component:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.add(member)
                    if len(component) > 1:
                        components.append(component)
    return components


def _shortest_cycle(component, edges):
    best = None
    for start in component:
        before, queue = {start: None}, [start]
        while queue:
            node = queue.pop(0)
            closing = start in edges[node]
            if closing:
                path = []
                while node is not None:
                    path.append(node)
                    node = before[node]
                if best is None or len(path) < len(best):
                    best = path[::-1]
                break
            for target in edges[node]:
                if target in component and target not in before:
                    before[target] = node
                    queue.append(target)
        if best is not None and len(best) == 2:
            break
    return best
