import math


def run(n):
    x = 0.5
    for i in range(n * 600):
        x = math.sin(x) * 1.5 + x * 0.25 - i / 3.0 % 1.0
    return x
