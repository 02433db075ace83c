def run(n):
    found = 0
    for _ in range(n):
        table = {}
        for i in range(400):
            table[f"k{i % 97}"] = i
            table[i] = table.get(i - 1, 0) + 1
        for i in range(600):
            found += i in table
    return found
