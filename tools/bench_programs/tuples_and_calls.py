def swap(first, second, *, scale=1, **rest):
    return second * scale, first


def run(n):
    pair, history = (1, 2), ()
    for i in range(n * 200):
        pair = swap(*pair, scale=1)
        history = (*history[-4:], pair)
        first, (second, _) = i, history[-1]
        pair = (first & 15, second)
    return len(history)
