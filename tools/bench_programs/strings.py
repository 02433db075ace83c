def run(n):
    size = 0
    for i in range(n * 60):
        words = [f"{i}:{j}" for j in range(6)]
        text = ",".join(words).replace(":", "=").upper()
        text += "tail"
        size += len(text.split(",")) + text.count("=")
    return size
