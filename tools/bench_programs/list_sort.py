def run(n):
    total = 0
    for _ in range(n):
        values = []
        seed = 12345
        for _ in range(300):
            seed = (seed * 1103515245 + 12345) % 2147483648
            values.append(seed)
        values.sort()
        values.sort(key=lambda value: -value)
        values[10:20] = values[30:35]
        total += values[7] + values.pop()
    return total
