def run(n):
    total = 0
    for i in range(n * 12):
        row = [j * i for j in range(30)]
        unique = {value % 11 for value in row}
        index = {value: at for at, value in enumerate(row)}
        total += len(unique) + sum(index.values()) + len([pair for pair in zip(row, row[1:])])
    return total
