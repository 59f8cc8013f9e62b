"""The worker's side of compare.py: for each line `SEED WORKLOAD` that comes, a line with the seconds that it took."""

import os
import random
import sys
import threading
import time


def serve(*workloads):
    named = {workload.__name__.replace("_", " "): workload for workload in workloads}
    print(",".join(named), flush=True)
    if os.environ.get("BENCH_IDLE_THREAD"):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    for line in sys.stdin:
        seed, _, name = line.strip().partition(" ")
        random.seed(int(seed))
        began, used = time.perf_counter(), time.process_time()
        named[name]()
        print(time.perf_counter() - began, time.process_time() - used, flush=True)
