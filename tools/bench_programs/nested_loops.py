def run(n):
    total = 0
    for i in range(n * 100):
        for j in range(20):
            total += i ^ j
    return total
