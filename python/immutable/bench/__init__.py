"""How fast the runtime is, beside what a program would do without it.

    python -m immutable bench [--list] [--quick] [--stock PYTHON] [--output FOLDER] [BENCHMARK...]

Times on a machine that does other things as well mean little, so every number
here is a ratio of two things that took turns in one run: the median over the
rounds of the ratio within one round. Each benchmark runs in a process of its
own, since a process that ever had a second interpreter counts atomically from
then on. Results are written as JSON, with what machine and build they are of.
"""

from immutable.bench import freezing, functions, growth, matrices, messages, pools, reading

BENCHMARKS = {
    "freezing": freezing.run,
    "reading": reading.run,
    "functions": functions.run,
    "pools": pools.run,
    "messages": messages.run,
    "matrices": matrices.run,
    "graph-size": growth.graph_size,
    "component-size": growth.component_size,
    "interpreters": growth.interpreters,
}
"""Name on the command line -> function that runs the benchmark, given its Settings."""
