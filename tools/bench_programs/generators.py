def numbers(limit):
    yield from range(limit)


def squares(source):
    for value in source:
        yield value * value


def odd(source):
    return (value for value in source if value & 1)


def run(n):
    return sum(sum(odd(squares(numbers(300)))) for _ in range(n))
